"""A recurrent model as a SavedModel that TensorFlow Serving takes: whole sequences and steps."""

import contextlib
import json
import logging
import warnings

import keras
import numpy as np
import tensorflow as tf

import rnnzoo
from rnnzoo import _checks
from rnnzoo._export.check import ExportError, check_graph, compare
from rnnzoo._export.signatures import stateful_signatures
from rnnzoo._export.stateless import stateless_signatures
from rnnzoo._files import as_path, replacing_folder
from rnnzoo.serving.warmup import write_warmup
from rnnzoo.streaming import explicit_state

__all__ = ["ExportError", "export"]

DESCRIPTION = "serving.json"
_log = logging.getLogger(__name__)


def export(model, directory, version=None, *, time_local=(), check=True):
    r"""Write `model` as a SavedModel with named signatures to ``directory/<version>/``.

    $$\text{serving\_default}: (x_{1:T},\,T) \mapsto (y_{1:T},\,s_T),\qquad
      \text{step}: (x_t,\,s_{t-1}) \mapsto (y_t,\,s_t),\qquad
      \text{initial\_state}: B\ \text{rows} \mapsto s_0$$

    Args:
        model: a Functional or built Sequential model, or the `TruncatedBPTT` around one.
        directory: the folder that the server watches; its name is the served model's.
        version: a positive integer (default None: one more than the highest there, or 1).
        time_local: names of layers known to act on each time step alone, as in
            `rnnzoo.explicit_state`.
        check: whether to load what was written and compare it with `model` on random input
            (default True); a difference is an error and leaves nothing behind.

    Returns:
        ``directory/<version>`` as a `pathlib.Path`. It holds the SavedModel, warm-up records, and
        ``serving.json``, which describes the signatures and says whether there are states.

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
    variables are not written. The version appears whole or not at all.

    Raises:
        TypeError: `model` is no Keras model, `version` no integer.
        ValueError: the model's graph is not known, it is not built, its names collide, or the
            version is there already.
        ExportError: what was written does not compute what `model` does.

    >>> import tempfile, keras, tensorflow as tf
    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4, name="gru")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     loaded = tf.saved_model.load(export(model, folder))
    >>> y = loaded.signatures["serving_default"](x=tf.ones([2, 5, 3]), lengths=tf.constant([5, 0]))
    >>> sorted(y), y["outputs"].shape.as_list()
    (['next_state_gru_h', 'outputs'], [2, 4])
    """
    model = _plain(model)
    target = _target(as_path(directory), version)
    _checks.boolean("check", check)
    with _quiet_about_masks():
        signatures = _signatures(model, time_local)
        with _without_cudnn(signatures.models()), replacing_folder(target) as part:
            _write_version(part, signatures, target.parent.name, check)
    if signatures.reason:
        _log.warning("%s is exported without states: %s", model.name, signatures.reason)
    return target


def _plain(model):
    from rnnzoo.training import TruncatedBPTT

    if isinstance(model, TruncatedBPTT):
        model = model.model
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    if not model.built:
        raise ValueError(
            "`model` must be built: give it an Input or call it on data. "
            f"Received: model={model.name!r}"
        )
    if not (isinstance(model, keras.Sequential) or hasattr(model, "_run_through_graph")):
        raise ValueError(
            "`model` must be a Functional or Sequential model, whose graph of layers is known. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    return model


def _target(directory, version):
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"`directory` must be a folder. Received: directory={str(directory)!r}")
    directory = directory.resolve() if directory.name in ("", ".", "..") else directory
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
    if not directory.is_dir():
        return []
    return [int(entry.name) for entry in directory.iterdir() if entry.name.isdecimal()]


@contextlib.contextmanager
def _without_cudnn(models):
    """Trace the form that runs on every device, also on a machine whose GPU has a faster one."""
    layers = {id(layer): layer for model in models for layer in model._flatten_layers()}
    kept = [(la, la.use_cudnn) for la in layers.values() if hasattr(la, "use_cudnn")]
    for layer, _ in kept:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, value in kept:
            layer.use_cudnn = value


@contextlib.contextmanager
def _quiet_about_masks():
    """Keras warns where a layer drops a mask; whether that matters here is measured instead."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was passed an input with a mask attached")
        yield


def _signatures(model, time_local):
    try:
        stream = explicit_state(model, time_local)
    except ValueError as error:
        if time_local:  # asked for states: a refusal is the answer
            raise
        return stateless_signatures(model, str(error))
    return stateful_signatures(model, stream)


def _write_version(folder, signatures, served_name, check):
    archive = keras.export.ExportArchive()
    for name, signature in signatures.items():
        signature.outputs()  # traced now, as the archive asks
        archive.add_endpoint(name, signature.function)
    archive.write_out(str(folder), verbose=False)
    requests = signatures.example_requests()
    write_warmup(folder, served_name, requests)
    check_graph(folder)
    difference = compare(folder, signatures, requests) if check else None
    description = json.dumps(_describe(signatures, difference), indent=2)
    (folder / DESCRIPTION).write_text(description + "\n", encoding="utf-8")


def _describe(signatures, difference):
    described = {
        name: {
            "inputs": {spec.name: _spec(spec) for spec in signature.inputs},
            "outputs": {key: _spec(spec) for key, spec in signature.outputs().items()},
        }
        for name, signature in signatures.items()
    }
    return {
        "model": signatures.model.name,
        "signatures": described,
        "states": signatures.state_names,
        "without_states_because": signatures.reason,
        "lengths": signatures.takes_lengths,
        "largest_difference_from_source": difference,
        "versions": {
            "rnnzoo": rnnzoo.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
    }


def _spec(spec):
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
