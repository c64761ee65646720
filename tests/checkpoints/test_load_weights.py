"""Files of weights move between twins, either way, whole or not at all."""

import keras
import numpy as np
import pytest

import rnnzoo
from rnnzoo.checkpoints import CheckpointError
from rnnzoo.layers import HDetachLSTM, StableRNN
from rnnzoo.layers.stable_rnn import StableRNNCell

L = keras.layers
KERAS = {"lstm": L.LSTM, "rnn": L.SimpleRNN, "cell": L.SimpleRNNCell}
OURS = {"lstm": HDetachLSTM, "rnn": StableRNN, "cell": StableRNNCell}


def sequential(*layers):
    return keras.Sequential([keras.Input([None, 3]), *layers])


def many(kinds):
    """More than ten of a kind, in whose order the numbers are not those of the alphabet."""
    layers = [kinds["lstm"](3, return_sequences=True) for _ in range(12)]
    return sequential(*layers, L.Dense(2))


def nested(kinds):
    inner = sequential(kinds["lstm"](4, return_sequences=True), L.Dense(3))
    x = keras.Input([None, 3])
    return keras.Model(x, kinds["rnn"](2)(inner(kinds["lstm"](3, return_sequences=True)(x))))


def attributes(kinds):
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = kinds["lstm"](3, return_sequences=True)
            self.others = [kinds["lstm"](3, return_sequences=True), kinds["rnn"](2)]

        def call(self, x):
            x = self.first(x)
            for layer in self.others:
                x = layer(x)
            return x

    model = Mine()
    model(np.ones([1, 2, 3], "float32"))
    return model


MODELS = {
    "sequential": lambda k: sequential(k["lstm"](4, return_sequences=True), k["rnn"](3)),
    "many": many,
    "nested": nested,
    "attributes": attributes,
    "bidirectional": lambda k: sequential(
        L.Bidirectional(k["lstm"](4, return_sequences=True)), L.Bidirectional(k["rnn"](3))
    ),
    "cells": lambda k: sequential(L.RNN([k["cell"](3), k["cell"](4), L.LSTMCell(2)])),
    "wrapped": lambda k: keras.Sequential(
        [keras.Input([2, 5, 3]), L.TimeDistributed(sequential(k["lstm"](4), L.Dense(2)))]
    ),
}
# Those in whose files no class has a name that differs.
BY_KERAS = {"bidirectional"}


def scrambled(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return model


def saved(model, folder):
    path = folder / "model.weights.h5"
    scrambled(model).save_weights(path)
    return path


@pytest.mark.parametrize(("theirs", "own"), [(KERAS, OURS), (OURS, KERAS), (OURS, OURS)])
@pytest.mark.parametrize("name", MODELS)
def test_weights_and_predictions_are_those_of_the_file(name, theirs, own, tmp_path):
    right, model = MODELS[name](theirs), MODELS[name](own)
    path = saved(right, tmp_path)
    rnnzoo.load_weights(model, path)
    for found, expected in zip(model.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    shape = [n or 5 for n in getattr(model, "input_shape", (0, None, 3))[1:]]
    x = np.random.default_rng(0).normal(size=[2, *shape]).astype("float32")
    np.testing.assert_allclose(model(x), right(x), atol=1e-5)


@pytest.mark.parametrize(("theirs", "own"), [(KERAS, OURS), (OURS, KERAS)])
@pytest.mark.parametrize("name", sorted(BY_KERAS))
def test_kerass_own_load_weights_reads_what_names_no_class(name, theirs, own, tmp_path):
    right, model = MODELS[name](theirs), MODELS[name](own)
    model.load_weights(saved(right, tmp_path))
    for found, expected in zip(model.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_kerass_own_load_weights_says_what_reads_the_twins_file(tmp_path):
    path = saved(sequential(L.LSTM(3, return_sequences=True), L.SimpleRNN(3)), tmp_path)
    words = r"no layers/{0}, but layers called '{1}', .* rnnzoo.load_weights\(model, path\)"
    with pytest.raises(ValueError, match=words.format("h_detach_lstm", "lstm")):
        sequential(HDetachLSTM(3, return_sequences=True), L.SimpleRNN(3)).load_weights(path)
    with pytest.raises(ValueError, match=words.format("stable_rnn", "simple_rnn")):
        sequential(L.LSTM(3, return_sequences=True), StableRNN(3)).load_weights(path)


@pytest.mark.parametrize("kinds", ["hl", "lh", "hh", "ll"])
@pytest.mark.parametrize("theirs", ["hh", "ll"])
def test_models_that_mix_the_twins_read_a_file_of_one_kind_in_its_order(theirs, kinds, tmp_path):
    def model(kinds):
        pick = {"h": HDetachLSTM, "l": L.LSTM}
        return sequential(*(pick[kind](3, return_sequences=True) for kind in kinds))

    right, mixed = model(theirs), model(kinds)
    rnnzoo.load_weights(mixed, saved(right, tmp_path))
    for found, expected in zip(mixed.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_mixed_file_is_read_by_names_and_refused_without(tmp_path):
    def model(first, second, *names):
        layers = [first(3, return_sequences=True), second(3, return_sequences=True)]
        for layer, name in zip(layers, names):
            layer.name = name
        return sequential(*layers)

    right = model(HDetachLSTM, L.LSTM, "a", "b")
    path = saved(right, tmp_path)
    named = model(HDetachLSTM, HDetachLSTM, "a", "b")
    rnnzoo.load_weights(named, path)
    for found, expected in zip(named.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    words = r"in an order that it does not tell; .* Give the layers the names .*\['a', 'b'\]"
    with pytest.raises(CheckpointError, match=words):
        rnnzoo.load_weights(model(L.LSTM, L.LSTM, "a", "c"), path)


def test_the_optimizer_of_the_file_is_loaded_with_the_weights(tmp_path):
    x, y = np.ones([4, 5, 3], "float32"), np.ones([4, 3], "float32")
    right, model = sequential(L.LSTM(3)), sequential(HDetachLSTM(3, p=0.0))
    for each in (right, model):
        each.compile(keras.optimizers.Adam(0.1), "mse")
        each.optimizer.build(each.trainable_variables)
    right.fit(x, y, epochs=2, verbose=0)
    right.save_weights(tmp_path / "model.weights.h5")
    rnnzoo.load_weights(model, tmp_path / "model.weights.h5")
    assert int(model.optimizer.iterations) == 2
    for each in (right, model):
        each.fit(x, y, verbose=0)
    for found, expected in zip(model.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_half_precision_is_read_as_keras_reads_it(tmp_path):
    options = {"dtype": "bfloat16", "recurrent_initializer": "zeros"}
    right, model = sequential(L.LSTM(3, **options)), sequential(HDetachLSTM(3, **options))
    rnnzoo.load_weights(model, saved(right, tmp_path))
    for found, expected in zip(model.weights, right.weights, strict=True):
        np.testing.assert_array_equal(found.value, expected.value)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (
            lambda: sequential(HDetachLSTM(5), L.Dense(2)),
            r"layers/lstm/cell/vars/0 has the shape \(3, 16\) in it; "
            r"layers/h_detach_lstm/cell/vars/0 has the shape \(3, 20\) in the model",
        ),
        (
            lambda: sequential(HDetachLSTM(4, use_bias=False), L.Dense(2)),
            "it has 3 weights in layers/lstm/cell/vars; the model has 2",
        ),
        (
            lambda: sequential(HDetachLSTM(4), L.Dense(2), L.Dense(2)),
            "it has no layers/dense_1/vars/0, the model's layers/dense_1/vars/0",
        ),
        (
            lambda: sequential(HDetachLSTM(4, return_sequences=True), HDetachLSTM(4), L.Dense(2)),
            r"it has 1 layers of the kind 'lstm' under 'layers', \['lstm'\]; the model has 2",
        ),
        (
            lambda: sequential(StableRNN(4), L.Dense(2)),
            r"it has 1 layers of the kind 'lstm' under 'layers', \['lstm'\]; the model has 0",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(own, words, tmp_path):
    path, model = saved(sequential(L.LSTM(4), L.Dense(2)), tmp_path), own()
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=rf"model\.weights\.h5: .*{words}"):
        rnnzoo.load_weights(model, path)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_is_no_file_of_weights_is_said(tmp_path):
    model = sequential(HDetachLSTM(2))
    with pytest.raises(TypeError, match=r"`model` must be a keras.Model. Received: model=3"):
        rnnzoo.load_weights(3, "x.weights.h5")
    with pytest.raises(ValueError, match=r"`path` must end in .weights.h5. Received: path='x.h5'"):
        rnnzoo.load_weights(model, "x.h5")
    with pytest.raises(ValueError, match="`model` must be built"):
        rnnzoo.load_weights(keras.Sequential([L.LSTM(2)]), "x.weights.h5")
    path = tmp_path / "x.weights.h5"
    with pytest.raises(CheckpointError, match=r"x.weights.h5: there is no such file"):
        rnnzoo.load_weights(model, path)
    path.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"x.weights.h5: it is no HDF5 file, or damaged"):
        rnnzoo.load_weights(model, path)
