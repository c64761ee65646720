"""A converted model predicts what the given one does, and nothing else has changed."""

import copy

import keras
import numpy as np
import pytest

import rnnzoo
from rnnzoo import _keras
from rnnzoo.layers import HDetachLSTM, StableRNN
from rnnzoo.layers.stable_rnn import StableRNNCell

L = keras.layers
SMALL = keras.initializers.Orthogonal(gain=0.5, seed=0)
STABLE = {"recurrent_initializer": SMALL}


def sequential(*layers, features=3):
    return keras.Sequential([keras.Input([None, features]), *layers])


def functional():
    """Two inputs, states handed on, a layer called twice, a dict of outputs."""
    x, other = keras.Input([None, 3], name="x"), keras.Input([None, 3], name="other")
    shared = L.LSTM(4, return_sequences=True, name="shared")
    encoded, h, c = L.LSTM(5, return_state=True, name="encoder")(L.Masking()(x))
    decoded = L.LSTM(5, return_sequences=True, name="decoder")(other, initial_state=[h, c])
    both = keras.ops.add(shared(x), shared(other))
    outputs = {"decoded": L.Dense(2)(decoded), "both": both, "encoded": encoded}
    return keras.Model({"x": x, "other": other}, outputs, name="functional")


def nested():
    inner = sequential(L.LSTM(4, return_sequences=True), L.Dense(3), features=3)
    x = keras.Input([None, 3])
    return keras.Model(x, L.SimpleRNN(2, **STABLE)(inner(inner(x))))


MODELS = {
    "sequential": lambda: sequential(L.LSTM(4, return_sequences=True), L.LSTM(3), L.Dense(2)),
    "simple_rnn": lambda: sequential(L.SimpleRNN(4, "relu", **STABLE), L.BatchNormalization()),
    "functional": functional,
    "nested": nested,
    "bidirectional": lambda: sequential(
        L.Bidirectional(L.LSTM(4, return_sequences=True)),
        L.Bidirectional(L.SimpleRNN(3, **STABLE), merge_mode="sum"),
    ),
    "cells": lambda: sequential(
        L.RNN(L.SimpleRNNCell(3, **STABLE), return_sequences=True),
        L.RNN([L.SimpleRNNCell(3, **STABLE), L.LSTMCell(4), L.SimpleRNNCell(2, **STABLE)]),
    ),
    "wrapped": lambda: keras.Sequential(
        [keras.Input([2, 5, 3]), L.TimeDistributed(sequential(L.LSTM(4), L.Dense(2)))]
    ),
    "options": lambda: sequential(
        L.LSTM(4, "relu", use_bias=False, go_backwards=True, return_sequences=True, unroll=False),
        L.LSTM(4, dropout=0.3, seed=1, implementation=1, use_cudnn=False, dtype="float64"),
    ),
}
KEPT = (L.LSTM, L.SimpleRNN, L.SimpleRNNCell)


def data(model):
    rng = np.random.default_rng(0)
    shapes = [[n or 5 for n in t.shape[1:]] for t in model.inputs]
    values = [rng.normal(size=[2, *shape]).astype("float32") for shape in shapes]
    names = [t.name for t in model.inputs]
    return dict(zip(names, values)) if len(values) > 1 else values[0]


def outputs(model):
    return [np.asarray(y) for y in keras.tree.flatten(model(data(model)))]


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_equal_and_the_given_model_is_as_it_was(name):
    model = MODELS[name]()
    for weight in model.weights:
        if "recurrent" not in weight.name:
            weight.assign(weight + 0.1)
    expected, config = outputs(model), copy.deepcopy(model.get_config())
    given = model.get_weights()
    converted = rnnzoo.convert(model)
    for found, right in zip(outputs(converted), expected, strict=True):
        np.testing.assert_allclose(found, right, atol=2e-6)
    kinds = [type(layer) for layer in _keras.flat_layers(converted)]
    assert not set(kinds) & set(KEPT)
    twins = {HDetachLSTM: L.LSTM, StableRNN: L.SimpleRNN, StableRNNCell: L.SimpleRNNCell}
    old = _keras.flat_layers(model)
    assert [twins.get(kind, kind) for kind in kinds] == [type(layer) for layer in old]
    assert [layer.name for layer in _keras.flat_layers(converted)] == [la.name for la in old]
    # Nothing is shared, and the given model is the same.
    assert not {id(w) for w in model.variables} & {id(w) for w in converted.variables}
    for weight in converted.weights:
        weight.assign(weight * 0.0)
    assert model.get_config() == config
    for weight, value in zip(model.get_weights(), given, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_new_arguments_arrive():
    model = sequential(L.LSTM(4, return_sequences=True), L.Bidirectional(L.SimpleRNN(3, **STABLE)))
    lstm, both = rnnzoo.convert(model, p=0.75, contraction=0.9).layers
    assert lstm.p == 0.75
    assert both.forward_layer.cell.contraction == both.backward_layer.cell.contraction == 0.9
    assert both.backward_layer.go_backwards


def test_options_that_keras_does_not_save_are_kept():
    converted = rnnzoo.convert(MODELS["options"]())
    first, second = converted.layers
    assert (first.use_cudnn, second.use_cudnn) == ("auto", False)
    assert (first.cell.implementation, second.cell.implementation) == (2, 1)
    assert second.cell.seed == 1
    assert second.dtype_policy.name == "float64"


def test_a_shared_layer_stays_shared_also_with_a_nested_model():
    shared = L.LSTM(3, return_sequences=True, name="shared")
    inner_input, x = keras.Input([None, 3]), keras.Input([None, 3])
    inner = keras.Model(inner_input, shared(inner_input), name="inner")
    converted = rnnzoo.convert(keras.Model(x, inner(shared(x))))
    assert len(converted.weights) == 3
    assert converted.get_layer("shared") is converted.get_layer("inner").get_layer("shared")


def test_the_copy_is_not_compiled_and_trains():
    model = sequential(L.LSTM(4), L.Dense(1))
    model.compile("adam", lambda y, p: keras.ops.mean((y - p) ** 2))  # registered nowhere
    converted = rnnzoo.convert(model, p=1.0)
    assert not converted.compiled
    assert model.compiled
    converted.compile("sgd", "mse")
    before = converted.get_weights()[0]
    converted.fit(data(model), np.ones([2, 1]), verbose=0)
    assert np.abs(converted.get_weights()[0] - before).max() > 0


def test_flags_of_training_are_copied_at_every_depth():
    model = nested()
    model.trainable = False
    model.layers[1].layers[0].trainable = True
    flags = [layer.trainable for layer in _keras.flat_layers(model)]
    assert len(set(flags)) == 2
    converted = rnnzoo.convert(model)
    assert [layer.trainable for layer in _keras.flat_layers(converted)] == flags


def test_a_kernel_outside_the_bound_is_refused_with_its_norm_or_projected():
    model = sequential(L.Bidirectional(L.SimpleRNN(3, name="rnn")))
    model.layers[0].backward_layer.cell.recurrent_kernel.assign(0.5 * np.eye(3))
    model.layers[0].forward_layer.cell.recurrent_kernel.assign(np.diag([1.5, 0.5, 0.25]))
    words = (
        r"recurrent kernel of 'forward_rnn' must have a spectral norm of at most 0.9; it has 1.5. "
        r"Pass project=True .* Received: contraction=0.9"
    )
    with pytest.raises(ValueError, match=words):
        rnnzoo.convert(model, contraction=0.9)
    both = rnnzoo.convert(model, contraction=0.9, project=True).layers[0]
    kernels = [
        half.cell.recurrent_kernel.numpy() for half in (both.forward_layer, both.backward_layer)
    ]
    np.testing.assert_allclose(kernels[0], np.diag([0.9, 0.5, 0.25]), rtol=1e-5)
    np.testing.assert_array_equal(kernels[1], 0.5 * np.eye(3, dtype="float32"))
    assert both.forward_layer.contraction() <= 0.9


def test_the_bound_counts_the_activation_and_cells_are_checked_too():
    steep = {"recurrent_initializer": keras.initializers.Orthogonal(gain=3.0)}
    rnnzoo.convert(sequential(L.SimpleRNN(3, "sigmoid", **steep)))  # 3 is below 0.999 / 0.25
    stacked = sequential(L.RNN([L.SimpleRNNCell(3, **STABLE), L.SimpleRNNCell(3, name="top")]))
    with pytest.raises(ValueError, match=r"recurrent kernel of 'top' .* at most 0.999; it has 1\b"):
        rnnzoo.convert(stacked)


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lstm = L.LSTM(2)

    def call(self, x):
        return self.lstm(x)


class Hidden(keras.layers.Layer):
    """A layer whose configuration does not tell of the LSTM in it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lstm = L.LSTM(2, name="within")

    def build(self, shape):
        self.lstm.build(shape)

    def call(self, x):
        return self.lstm(x)


def of_subclass():
    model = Subclassed(name="mine")
    model(np.ones([1, 2, 3]))
    return model


@pytest.mark.parametrize(
    ("make", "options", "error", "words"),
    [
        (lambda: "model", {}, TypeError, "`model` must be a keras.Model. Received: model='model'"),
        (of_subclass, {}, ValueError, "Functional or Sequential.* Received: Subclassed 'mine'"),
        (lambda: keras.Sequential([L.LSTM(2)]), {}, ValueError, "`model` must be built"),
        (lambda: sequential(L.GRU(2)), {}, ValueError, "`model` must hold a keras.layers.LSTM"),
        (lambda: sequential(Hidden()), {}, ValueError, "'within', a LSTM, lies in a layer"),
        (lambda: sequential(L.LSTM(2)), {"p": 2}, ValueError, "`p` must be .* Received: p=2"),
        (lambda: sequential(L.LSTM(2)), {"contraction": 1}, ValueError, "`contraction` must be"),
        (lambda: sequential(L.LSTM(2)), {"project": 1}, TypeError, "`project` must be True or F"),
        (
            lambda: sequential(L.SimpleRNN(2, recurrent_constraint="non_neg", name="held")),
            {},
            ValueError,
            "layer 'held' has no twin: .*`recurrent_constraint` must be None",
        ),
        (
            lambda: sequential(L.SimpleRNN(2, "softmax", name="soft")),
            {},
            ValueError,
            "layer 'soft' has no twin: .*known Lipschitz constant",
        ),
    ],
)
def test_what_cannot_be_converted_is_said(make, options, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        rnnzoo.convert(make(), **options)
