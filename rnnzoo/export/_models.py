"""A recurrent model as a SavedModel, LiteRT or ONNX file: whole sequences and steps."""

from __future__ import annotations

import json
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import rnnzoo
from rnnzoo import _checks
from rnnzoo._files import CheckpointError, as_path, replacing_folder
from rnnzoo.export import _litert, _onnx, _saved_model
from rnnzoo.export._check import compare
from rnnzoo.export._errors import ExportError
from rnnzoo.export._sources import plain, quiet_about_masks, signatures_of, without_cudnn

__all__ = ["FORMATS", "ExportError", "describe", "export_model", "load_check"]

FORMATS = {"saved_model": _saved_model, "litert": _litert, "onnx": _onnx}
DESCRIPTION = "serving.json"
_log = logging.getLogger(__name__)


def export_model(
    model: keras.Model,
    directory: str | os.PathLike,
    version: int | None = None,
    *,
    format: str = "saved_model",
    time_local: Sequence[str | type] = (),
    source: Any = None,
    check: bool = True,
) -> pathlib.Path:
    r"""Write `model` with named signatures to ``directory/<version>/``.

    $$\text{serving\_default}: (x_{1:T},\,T) \mapsto (y_{1:T},\,s_T),\qquad
      \text{step}: (x_t,\,s_{t-1}) \mapsto (y_t,\,s_t),\qquad
      \text{initial\_state}: B\ \text{rows} \mapsto s_0$$

    Args:
        model: a Functional or built Sequential model, or the `TruncatedBPTT` around one.
        directory: the folder that the server watches; its name is the served model's.
        version: a positive integer (default None: one more than the highest there, or 1).
        format: "saved_model" (default), for TensorFlow Serving; "litert": one file
            ``model.tflite`` with all signatures, for one sequence at a time; "onnx": one file
            ``<signature>.onnx`` each. The last two need the extra `export`.
        time_local: names of layers known to act on each time step alone, as in
            `rnnzoo.explicit_state`.
        source: where the model came from, a file or a preset's name; kept in ``serving.json``,
            where `rnnzoo load-check` finds it (default None).
        check: whether to load what was written and compare it with `model` on random input
            (default True); a difference is an error and leaves nothing behind.

    Returns:
        ``directory/<version>`` as a `pathlib.Path`. It holds the model and ``serving.json``, which
        describes the signatures and says whether there are states; a SavedModel has warm-up records
        too, and in ``tensorflow_serving/`` the server's configuration and the command to start it.

    Signatures (batch `B` and time `T` are free, zero included; all float types narrower than
    float32 are float32 outside):

    - ``serving_default``: ``x [B, T, F]``, ``lengths [B]`` (int32, 0 to T) to ``outputs`` and, for
      each state, ``next_state_<name> [B, N]``, the state after the last real step. Where outputs
      run over time, those past a sequence's length repeat its last one, and mean nothing.
    - ``step``: ``x [B, F]`` and ``state_<name>`` to ``outputs`` and ``next_state_<name>``; the
      cells alone, without a loop.
    - ``initial_state``: ``rows [B]`` (int32, any values) to ``state_<name>``. One row in, one state
      out, so that a server may batch the calls.

    A model of several inputs or outputs has them under its own names instead of ``x`` and
    ``outputs``. A model whose state cannot be carried (`Bidirectional`, `go_backwards`, a layer
    that mixes time steps) gets ``serving_default`` alone, without states; where padding would leak
    into its outputs, without ``lengths`` too. ``serving.json`` and a log record say so and why.

    The graph has stock operations only: no XLA-compiled function, no Python, no cuDNN. Optimizer
    variables are not written. The version appears whole or not at all. LiteRT and ONNX keep no
    assertions: only a SavedModel refuses lengths out of range and batches of different sizes. Where
    their converter does not take a layer's own loop, ``serving_default`` is a loop over the step.

    Raises:
        TypeError: `model` is no Keras model, `version` no integer.
        ValueError: the model's graph is not known, it is not built, its names collide, or the
            version is there already.
        ExportError: what was written does not compute what `model` does, or a converter refuses
            the model.
        ImportError: for a format whose packages are not installed.

    >>> import tempfile, keras, tensorflow as tf
    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4, name="gru")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     loaded = tf.saved_model.load(export_model(model, folder))
    >>> y = loaded.signatures["serving_default"](x=tf.ones([2, 5, 3]), lengths=tf.constant([5, 0]))
    >>> sorted(y), y["outputs"].shape.as_list()
    (['next_state_gru_h', 'outputs'], [2, 4])
    """
    model = plain(model)
    _checks.choice("format", format, tuple(FORMATS))
    target = _target(as_path(directory), version, format)
    _checks.boolean("check", check)
    with quiet_about_masks():
        signatures = signatures_of(model, time_local)
        with without_cudnn(signatures.models()), replacing_folder(target) as part:
            written = FORMATS[format].write(part, signatures, target.parent, int(target.name))
            compared = _compare(part, format, signatures) if check else None
            described = _described(signatures, written, format, source, compared)
            text = json.dumps(described, indent=2) + "\n"
            (part / DESCRIPTION).write_text(text, encoding="utf-8")
    if signatures.reason:
        _log.warning("%s is exported without states: %s", model.name, signatures.reason)
    return target


def load_check(directory: str | os.PathLike, model: keras.Model) -> dict:
    """Load an export and compare it with the model that it should be.

    Args:
        directory: an export's folder, whose newest version is taken, or a version's.
        model: the source, as it was given to `export`.

    Returns:
        The largest differences found, `{what was compared: number}`: whole sequences, outputs
        against the source; with states also padded sequences against each alone, and steps from the
        initial state against whole sequences, outputs and states. All on random input.

    Raises:
        CheckpointError: there is no export, or its ``serving.json`` is damaged.
        ExportError: signatures, shapes or values are not those of `model`.

    >>> import tempfile, keras
    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     differences = load_check(export_model(model, folder, check=False), model)
    >>> max(differences.values()) < 1e-5
    True
    """
    model = plain(model)
    folder, described = describe(directory)
    with quiet_about_masks():
        signatures = signatures_of(model, described["time_local"])
        with without_cudnn(signatures.models()):
            _check_described(described, signatures)
            return _compare(folder, described["format"], signatures)


def describe(directory: str | os.PathLike) -> dict:
    """The folder of an export's newest version (or of the one given) and its ``serving.json``."""
    folder = as_path(directory)
    if not (folder / DESCRIPTION).is_file() and _versions(folder):
        folder = folder / str(max(_versions(folder)))
    file = folder / DESCRIPTION
    if not file.is_file():
        raise CheckpointError(folder, f"there is no export in it: no {DESCRIPTION}.")
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
        missing = {"format", "signatures", "time_local", "source"} - set(described)
    except (ValueError, TypeError) as error:
        raise CheckpointError(file, f"it is no description of an export: {error}.") from error
    if missing or described["format"] not in FORMATS:
        raise CheckpointError(file, "it is no description of an export of this release.")
    return folder, described


def _compare(folder, format, signatures):
    return compare(FORMATS[format].callables(folder, list(signatures)), signatures)


def _check_described(described, signatures):
    """Names, types and shapes; the batch may be fixed in the export."""
    for name, signature in _signatures(signatures).items():
        found = described["signatures"].get(name)
        if found is None or not all(
            sorted(found[side]) == sorted(signature[side])
            and all(_same(found[side][n], spec) for n, spec in signature[side].items())
            for side in ("inputs", "outputs")
        ):
            raise ExportError(
                f"The export differs from its source: {name} is {found}, not {signature}."
            )


def _same(found, spec):
    return found["dtype"] == spec["dtype"] and found["shape"][1:] == spec["shape"][1:]


def _target(directory, version, format):
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"`directory` must be a folder. Received: directory={str(directory)!r}")
    directory = directory.resolve() if directory.name in ("", ".", "..") else directory
    others = {f for f in map(_format_of, _version_folders(directory)) if f != format}
    if others:
        raise ValueError(
            f"`directory` must hold exports of one format, since a server watches it: "
            f"{directory} holds {', '.join(sorted(others))}. Received: format={format!r}"
        )
    if version is None:
        return directory / str(1 + max(_versions(directory), default=0))
    version = _checks.integer("version", version)
    if version in _versions(directory):
        raise ValueError(
            f"`version` must be a new one: {directory} has it already, and no version is "
            f"overwritten. Received: version={version}"
        )
    return directory / str(version)


def _versions(directory):
    return [int(folder.name) for folder in _version_folders(directory)]


def _version_folders(directory):
    if not directory.is_dir():
        return []
    return [entry for entry in directory.iterdir() if entry.name.isdecimal()]


def _format_of(folder):
    """The format of a version; a SavedModel may have been written by anything."""
    file = folder / DESCRIPTION
    return describe(folder)[1]["format"] if file.is_file() else "saved_model"


def _described(signatures, written, format, source, compared):
    return {
        "model": signatures.model.name,
        "format": format,
        "source": source,
        "signatures": _signatures(written),
        "states": signatures.state_names,
        "without_states_because": signatures.reason,
        "lengths": signatures.takes_lengths,
        "time_local": signatures.time_local,
        "largest_difference_from_source": max(compared.values()) if compared else None,
        "versions": {
            "rnnzoo": rnnzoo.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
    }


def _signatures(signatures):
    return {
        name: {
            "inputs": {spec.name: _spec(spec) for spec in signature.inputs},
            "outputs": {key: _spec(spec) for key, spec in signature.outputs().items()},
        }
        for name, signature in signatures.items()
    }


def _spec(spec):
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
