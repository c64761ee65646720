"""Files that hold a model or a training state: written whole or not at all, refused when not whole.

A file is written beside its final place under a temporary name, flushed to the disk and then
renamed over it. Whatever stops the writer, the reader finds the old file or the new one. A file
that is missing, damaged or of another origin raises `CheckpointError`, which names it.
"""

import importlib
import json
import re
import zipfile

import numpy as np

from rnnzoo._files import READ_ERRORS, CheckpointError, as_path, check_zip, first_line, replacing

_WEIGHTS = ("model.weights.h5", "model.weights.npz")
_ARRAYS_FORMAT, _ARRAYS_VERSION = "rnnzoo.arrays", 1


def save_model(model, path):
    """Save a Keras model to ``path`` (``*.keras``), atomically.

    The file is the one that `keras.Model.save` writes. Its folder is made when missing. Optimizer
    and compile settings are in it if the model is compiled; the states of seed generators are not
    (exact resume keeps them, `rnnzoo.training.resumable`).

    Args:
        model: a built `keras.Model`.
        path: where to; the name ends in ``.keras``.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        TypeError: `model` is no `keras.Model`, or `path` no path.
        ValueError: `path` does not end in ``.keras``, or the model is not built.

    >>> import tempfile, keras
    >>> model = keras.Sequential([keras.layers.Input((None, 3)), keras.layers.LSTM(4)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_model(save_model(model, f"{folder}/lstm.keras")).output_shape
    (None, 4)
    """
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    path = as_path(path)
    if path.suffix != ".keras":
        raise ValueError(f"`path` must end in .keras. Received: path={str(path)!r}")
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on data, or give it an Input, before it is saved. "
            f"Received: model={model.name!r}"
        )
    with replacing(path) as part:
        model.save(part)
    return path


def load_model(path, *, custom_objects=None, compile=False):
    """Load a Keras model from a ``.keras`` file, with the zoo's classes known.

    The file's checksums are verified first, and nothing in it is executed (Keras's safe mode).

    Args:
        path: the file.
        custom_objects: dict of name to class or function for what is registered nowhere.
        compile: whether to compile the model as it was when saved, optimizer state included.

    Returns:
        The `keras.Model`.

    Raises:
        CheckpointError: the file is missing, truncated or corrupted, holds something else, needs
            classes that are not known here, or weights that do not fit the model it describes.
    """
    import keras

    path = as_path(path)
    config = _read_config(path)
    _register_classes(everything=compile)
    known = {"custom_objects": custom_objects, "safe_mode": True}
    try:
        model = keras.saving.load_model(path, compile=compile, **known)
    except MemoryError:
        raise
    except Exception as error:
        raise CheckpointError(path, _loading_fault(error, config, compile, known)) from error
    if not isinstance(model, keras.Model):
        raise CheckpointError(path, f"it holds a {type(model).__name__}, which is no Keras model.")
    return model


def save_arrays(path, arrays, metadata):
    """Save NumPy arrays and a dict of plain values to one file, atomically.

    Args:
        path: where to.
        arrays: dict of name to array, of any numeric or boolean type (bfloat16 too).
        metadata: dict that JSON can hold.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        TypeError: an array's type is not numeric, or `metadata` holds what JSON cannot.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_arrays(f"{folder}/state.npz", {"h": np.arange(3)}, {"epoch": 2})
    ...     load_arrays(f"{folder}/state.npz")
    ({'h': array([0, 1, 2])}, {'epoch': 2})
    """
    path = as_path(path)
    arrays = {name: _native(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject or array.dtype.kind in "SUMm":
            raise TypeError(
                f"`arrays` must hold numbers or booleans. Received: arrays[{name!r}] of type "
                f"{array.dtype}"
            )
    manifest = {
        "format": _ARRAYS_FORMAT,
        "version": _ARRAYS_VERSION,
        "arrays": [[name, a.dtype.name, list(a.shape)] for name, a in arrays.items()],
        "metadata": metadata,
    }
    try:
        manifest = json.dumps(manifest).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"`metadata` must hold plain JSON values: {error}.") from error
    members = {f"array_{i:05d}": _as_bytes(a) for i, a in enumerate(arrays.values())}
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, manifest=np.frombuffer(manifest, np.uint8), **members)
    return path


def load_arrays(path):
    """Load what `save_arrays` wrote: ``(arrays, metadata)``.

    Raises:
        CheckpointError: the file is missing, truncated, corrupted, of another origin, or of a
            later format version.
    """
    path = as_path(path)
    check_zip(path, "a file of saved arrays")
    try:
        with np.load(path, allow_pickle=False) as members:
            if "manifest" not in members.files:
                raise CheckpointError(path, "it is a zip archive, but not of rnnzoo's arrays.")
            manifest = json.loads(members["manifest"].tobytes())
            _check_manifest(path, manifest)
            arrays = {
                name: _from_bytes(members[f"array_{i:05d}"], dtype, shape)
                for i, (name, dtype, shape) in enumerate(manifest["arrays"])
            }
    except CheckpointError:
        raise
    except (*READ_ERRORS, KeyError, TypeError) as error:
        raise CheckpointError(path, f"its content is damaged: {first_line(error)}") from error
    return arrays, manifest["metadata"]


def _register_classes(everything):
    """Import what registers the zoo's classes with Keras; by name, as they import this module."""
    for module in ("layers", "training", *(["tasks"] if everything else [])):
        importlib.import_module(f"rnnzoo.{module}")


def _read_config(path):
    """The model's description, once the file is known to be a whole Keras archive."""
    check_zip(path, "a .keras file")
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if "config.json" not in members or not any(name in members for name in _WEIGHTS):
            raise CheckpointError(
                path, "it is a zip archive without a Keras model (config.json and weights) in it."
            )
        try:
            config = json.loads(archive.read("config.json"))
        except ValueError as error:
            raise CheckpointError(path, f"its config.json is not JSON: {error}.") from error
    if path.suffix != ".keras":
        raise CheckpointError(path, "the name of a saved model must end in .keras.")
    if not isinstance(config, dict) or "class_name" not in config:
        raise CheckpointError(path, "its config.json does not describe a Keras model.")
    return config


def _loading_fault(error, config, compile, known):
    """Whether the description or the weights are at fault, found by building the description."""
    import keras

    text = str(error)
    missing = re.findall(r"Could not locate \w+ '([^']+)'", text)
    if missing:
        return (
            f"it needs the class or function {missing[-1]!r}, which is not known here. Import "
            "the package that registers it, or pass it in `custom_objects`."
        )
    if "unsafe" in text.lower() or "safe_mode" in text:
        return "it holds Python code (a Lambda layer or the like), which is never executed."
    description = config if compile else {**config, "compile_config": None}
    try:
        keras.saving.deserialize_keras_object(description, **known)
    except Exception:
        return f"its config.json does not describe a model: {first_line(error)}"
    return f"its weights are damaged or do not fit its model: {first_line(error)}"


def _check_manifest(path, manifest):
    if not isinstance(manifest, dict) or manifest.get("format") != _ARRAYS_FORMAT:
        raise CheckpointError(path, "it is a zip archive, but not of rnnzoo's arrays.")
    if manifest["version"] != _ARRAYS_VERSION:
        raise CheckpointError(
            path,
            f"it has format version {manifest['version']}; this release reads {_ARRAYS_VERSION}.",
        )


def _native(array):
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _as_bytes(array):
    """NumPy would store types that it does not know (bfloat16) as void: store bytes, always."""
    return np.frombuffer(array.tobytes(), np.uint8)


def _from_bytes(stored, dtype, shape):
    import ml_dtypes  # noqa: F401  (makes NumPy know bfloat16 by name)

    return np.frombuffer(stored.tobytes(), np.dtype(dtype)).reshape(shape).copy()
