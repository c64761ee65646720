"""From a Keras model to the signatures of its export."""

import contextlib
import warnings

import keras

from rnnzoo import _keras
from rnnzoo.export._signatures import stateful_signatures
from rnnzoo.export._stateless import stateless_signatures
from rnnzoo.export._windows import streaming
from rnnzoo.streaming import explicit_state


def plain(model):
    """The model itself, or the one inside a `TruncatedBPTT`; refuses what has no known graph."""
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
    if not (isinstance(model, keras.Sequential) or _keras.is_functional(model)):
        raise ValueError(
            "`model` must be a Functional or Sequential model, whose graph of layers is known. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    return model


def signatures_of(model, time_local=()):
    """The `Signatures` of a model: with states where they can be carried."""
    try:
        stream = explicit_state(streaming(model), time_local)
    except ValueError as error:
        if time_local:  # asked for states: a refusal is the answer
            raise
        return stateless_signatures(model, str(error))
    return stateful_signatures(model, stream)


@contextlib.contextmanager
def without_cudnn(models):
    """Trace the form that runs on every device, also on a machine whose GPU has a faster one."""
    layers = {id(layer): layer for model in models for layer in _keras.flat_layers(model)}
    kept = [(la, la.use_cudnn) for la in layers.values() if hasattr(la, "use_cudnn")]
    for layer, _ in kept:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, value in kept:
            layer.use_cudnn = value


@contextlib.contextmanager
def quiet_about_masks():
    """Keras warns where a layer drops a mask; whether that matters here is measured instead."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was passed an input with a mask attached")
        yield
