"""MNIST as its authors ordered it, from local originals or through TensorFlow Datasets."""

import pathlib

import numpy as np

from rnnzoo.tasks.originals import _data

SIDE = 28
# SHA-256 of the unpacked original files.
FILES = {
    "train": {
        "train-images-idx3-ubyte": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
    },
    "test": {
        "t10k-images-idx3-ubyte": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
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
