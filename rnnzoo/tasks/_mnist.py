"""MNIST as its authors ordered it, from local originals or through TensorFlow Datasets."""

import pathlib

import numpy as np

from rnnzoo.tasks.originals import _data, _sources

SIDE = 28
# SHA-256 of the unpacked original files, images before labels.
FILES = {
    part: {
        f"{name}-{kind}-ubyte": _sources.get("mnist").file(f"{name}-{kind}-ubyte").sha256
        for kind in ("images-idx3", "labels-idx1")
    }
    for part, name in (("train", "train"), ("test", "t10k"))
}


def load(part, data_dir=None):
    """Images `[n, 28, 28]` and labels `[n]` of "train" or "test", as unsigned bytes."""
    where = _data.folder("mnist", data_dir)
    if where is None:
        return _from_tensorflow_datasets(part)
    arrays = []
    for file, sha256 in FILES[part].items():
        arrays.append(_data.parse_idx(_data.read(where, file, sha256), where / file))
    return tuple(arrays)


def _from_tensorflow_datasets(part):
    try:
        images, labels, root = _download(part)
    except Exception as error:  # whatever a download, a proxy or an unpacking can raise
        raise _data.DataError(_advice(f"{type(error).__name__}: {error}")) from error
    # The record files are written in the order of the hashed keys, and the keys are the places in
    # the original files: sorting the places in the same way tells which image stands where.
    from tensorflow_datasets.core import hashing

    order = np.array(sorted(range(len(labels)), key=hashing.Hasher(part).hash_key))
    arrays = []
    for array, (file, sha256) in zip((images, labels), FILES[part].items()):
        original = np.empty_like(array)
        original[order] = array
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        source = f"{file} (as TensorFlow Datasets stores it under {root})"
        _data.verify(header + original.tobytes(), sha256, source)
        arrays.append(original)
    return tuple(arrays)


def _download(part):
    """Images, labels and the folder, in the order of TensorFlow Datasets."""
    import tensorflow_datasets as tfds

    builder = tfds.builder("mnist")
    builder.download_and_prepare()
    stored = builder.as_dataset(split=part, batch_size=-1, shuffle_files=False)
    images = stored["image"].numpy()[..., 0]
    return images, stored["label"].numpy().astype(np.uint8), pathlib.Path(builder.data_dir)


def _advice(reason):
    wanted = {**FILES["train"], **FILES["test"]}
    files = "; ".join(f"{file}.gz (SHA-256 unpacked: {sha})" for file, sha in wanted.items())
    return (
        f"MNIST could not be had through TensorFlow Datasets ({reason}). Put the original files "
        f"{files} into the folder mnist of a folder that {_data.VARIABLE} or `data_dir` names, as "
        "`rnnzoo data fetch mnist` does."
    )
