"""Whole models in ``.keras`` files, written atomically and verified before they are read."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import re
import zipfile
from typing import TYPE_CHECKING

from rnnzoo._files import CheckpointError, as_path, check_zip, first_line, replacing

if TYPE_CHECKING:
    import keras

_WEIGHTS = ("model.weights.h5", "model.weights.npz")


def save_model(model: keras.Model, path: str | os.PathLike) -> pathlib.Path:
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


def load_model(
    path: str | os.PathLike, *, custom_objects: dict | None = None, compile: bool = False
) -> keras.Model:
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
