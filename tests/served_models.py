"""Small exported models for the tests of client and server, made once in a session."""

import functools
import pathlib
import tempfile

import keras
import numpy as np
from keras import layers

import rnnzoo.layers as zoo
from rnnzoo.export import export_model

F = 3
_FOLDER = tempfile.TemporaryDirectory()


def _sequential(*stack, shape=(None, F), dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *stack])


def _several():
    a, b = keras.Input((None, F), name="left"), keras.Input((None, 2), name="right")
    h = layers.SimpleRNN(4, return_sequences=True)(layers.Concatenate()([a, b]))
    return keras.Model(
        [a, b], [layers.Dense(2, name="first")(h), layers.Dense(1, name="second")(h)]
    )


_MODELS = {
    "stack": lambda: _sequential(
        zoo.HDetachLSTM(4, return_sequences=True),
        layers.GRU(3, return_sequences=True),
        layers.Dense(2),
    ),
    "single": lambda: _sequential(layers.SimpleRNN(3)),
    "tokens": lambda: _sequential(
        layers.Embedding(11, 4), layers.GRU(5), shape=(None,), dtype="int32"
    ),
    "several": _several,
    "whole": lambda: _sequential(layers.Bidirectional(layers.GRU(2))),
}


@functools.cache
def exported(name):
    """`(model, folder)` of one of the models above, exported as version 1."""
    keras.utils.set_random_seed(3)
    model = _MODELS[name]()
    folder = pathlib.Path(_FOLDER.name) / name
    export_model(model, folder, check=False)
    return model, folder


def x_of(batch, time, features=F, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, time, features)).astype("float32")


def example(model, batch, time):
    """Random input of a model of one input: its own number of steps where that is fixed."""
    tensor = model.inputs[0]
    shape = [batch, tensor.shape[1] or time, *tensor.shape[2:]]
    random = np.random.default_rng(0)
    if tensor.ndim > 2:
        return random.normal(size=shape).astype(tensor.dtype)
    embeddings = [la for la in model._flatten_layers() if isinstance(la, layers.Embedding)]
    return random.integers(0, embeddings[0].input_dim, shape).astype(tensor.dtype)
