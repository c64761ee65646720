"""TruncatedWrapper as a Keras layer: masks, Bidirectional, saving, precision, bad input."""

import doctest
import importlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from references.truncation import (
    LAYERS,
    MASK,
    MODES,
    Accumulate,
    B,
    F,
    H,
    T,
    inputs,
    pair,
    slow,
)

from rnnzoo.layers import TruncatedWrapper


def test_nan_at_masked_steps_stays_there():
    wrapper, _ = pair("lstm", 2, "window", return_sequences=True)
    x = tf.where(MASK[..., None], inputs(), np.nan)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(wrapper(x, mask=tf.constant(MASK)))
    gradients = tape.gradient(loss, wrapper.trainable_variables)
    assert all(np.all(np.isfinite(g)) for g in [loss, *gradients])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sequences", [False, True])
def test_masked_outputs_follow_keras(mode, sequences):
    x, mask = inputs(), tf.constant(np.r_[[[1, 0, 1, 0]], [[0, 1, 1, 0]]].astype(bool))
    for options in ({}, {"zero_output_for_mask": True}, {"go_backwards": True}):
        options = {**options, "return_sequences": sequences}
        wrapper = TruncatedWrapper(keras.layers.GRU(H, use_cudnn=False, **options), T + 1, mode)
        expected = wrapper.layer(x, mask=mask)
        np.testing.assert_allclose(wrapper(x, mask=mask), expected, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_backwards_is_the_reversed_sequence(mode):
    wrapper, twin = pair("lstm", 2, mode, return_sequences=True, go_backwards=True)
    x = inputs()
    np.testing.assert_allclose(wrapper(x), slow(twin, x[:, ::-1], 2, mode)[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["lstm", "lru"])
def test_bidirectional(name, mode, tmp_path):
    both = keras.layers.Bidirectional(
        TruncatedWrapper(LAYERS[name](return_sequences=True), 2, mode)
    )
    x = inputs()
    model = keras.Sequential([keras.Input((None, F)), both])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros([B, T, 2 * H]), verbose=0)
    y = model(x)
    assert not both.forward_layer.go_backwards
    assert both.backward_layer.go_backwards
    backward = slow(_twin(name, both.backward_layer), x[:, ::-1], 2, mode)[0]
    np.testing.assert_allclose(y[..., H:], backward[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(
        y[..., :H], slow(_twin(name, both.forward_layer), x, 2, mode)[0], atol=1e-5
    )
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(x), y)


def _twin(name, wrapper):
    twin = LAYERS[name](return_sequences=True, return_state=True)
    twin.build((None, None, F))
    twin.set_weights(wrapper.get_weights())
    return twin


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("gru", "gradient"),
        ("hdetach", "chunk"),
        ("stable_rnn", "window"),
        ("stable_lstm", "gradient"),
        ("lru", "window"),
    ],
)
def test_saves_loads_and_trains(name, mode, tmp_path):
    sequence = keras.Input((None, F))
    masked = keras.layers.Masking()(sequence)
    layer = TruncatedWrapper(
        LAYERS[name](return_sequences=True, return_state=True), 3, mode, name="cut"
    )
    outputs = layer(masked)
    model = keras.Model(sequence, [outputs[0], *outputs[1:]])
    assert [tuple(o.shape) for o in model.outputs] == [
        s if isinstance(s, tuple) else tuple(s) for s in layer.compute_output_shape((None, None, F))
    ]
    model.compile("adam", ["mse"] * len(model.outputs))
    x = tf.where(MASK[..., None], inputs(), 0.0)
    before = layer.get_weights()
    model.fit(x, [tf.ones_like(y) for y in model(x)], verbose=0)
    assert all(np.any(a != b) for a, b in zip(before, layer.get_weights()))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(again(x), model(x)):
        np.testing.assert_array_equal(a, b)
    configs = [json.dumps(w.get_config(), sort_keys=True) for w in (again.get_layer("cut"), layer)]
    assert configs[0] == configs[1]
    assert {"layer", "k", "mode"} <= set(layer.get_config())


def test_custom_and_stacked_cells_round_trip():
    with keras.utils.custom_object_scope({"StoredAccumulate": StoredAccumulate}):
        wrapper = TruncatedWrapper(
            keras.layers.RNN([keras.layers.GRUCell(2), StoredAccumulate(H)]), 2
        )
        again = TruncatedWrapper.from_config(wrapper.get_config())
    assert again.get_config() == wrapper.get_config()


class StoredAccumulate(Accumulate):
    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_mask_is_handed_on():
    x = keras.Input((None, F))
    sequences = TruncatedWrapper(keras.layers.GRU(H, return_sequences=True), 2)
    assert sequences(keras.layers.Masking()(x))._keras_mask is not None
    last = TruncatedWrapper(keras.layers.GRU(H), 2)
    assert getattr(last(keras.layers.Masking()(x)), "_keras_mask", None) is None


@pytest.mark.parametrize(
    "policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "float64"]
)
@pytest.mark.parametrize(
    "name",
    [
        "lstm",
        pytest.param("gru", marks=pytest.mark.slow),
        "stacked",
        pytest.param("stable_rnn", marks=pytest.mark.slow),
        "lru",
    ],
)
def test_other_precisions(name, policy):
    """The dtype is the wrapped layer's; half precision costs its rounding and no more."""
    keras.config.set_dtype_policy(policy)
    try:
        made = [TruncatedWrapper(LAYERS[name](return_sequences=True), 3, m) for m in MODES]
    finally:
        keras.config.set_dtype_policy("float32")
    for mode, layer in zip(MODES, made):
        y = layer(inputs())
        assert y.dtype == keras.DTypePolicy(policy).compute_dtype
        assert all(w.dtype in ("float32", "float64") for w in layer.weights)
        exact, _ = pair(name, 3, mode, return_sequences=True)
        exact.set_weights(layer.get_weights())
        bound = 1e-5 if policy == "float64" else 0.05
        np.testing.assert_allclose(tf.cast(y, tf.float32), exact(inputs()), atol=bound)


def test_regularizers_count_once():
    layer = keras.layers.GRU(H, activity_regularizer="l2", kernel_regularizer="l1")
    wrapper = TruncatedWrapper(layer, 2)
    wrapper(inputs())
    assert len(wrapper.losses) == 2
    again = TruncatedWrapper.from_config(wrapper.get_config())
    again(inputs())
    assert len(again.losses) == 2


def test_shared_weights_are_the_layers():
    layer = keras.layers.LSTM(H)
    wrapper = TruncatedWrapper(layer, 2)
    wrapper.build((None, None, F))
    assert [w is v for w, v in zip(wrapper.weights, layer.weights)] == [True] * 3


BAD = [
    (lambda: TruncatedWrapper(keras.layers.Dense(3), 2), TypeError, "`layer` must be a recurrent"),
    (lambda: TruncatedWrapper("lstm", 2), TypeError, "layer='lstm'"),
    (lambda: TruncatedWrapper(LAYERS["gru"](), 0), ValueError, "`k` must be .* Received: k=0"),
    (lambda: TruncatedWrapper(LAYERS["gru"](), 2.0), TypeError, "`k` must be an integer"),
    (lambda: TruncatedWrapper(LAYERS["gru"](), True), TypeError, "Received: k=True"),
    (lambda: TruncatedWrapper(LAYERS["gru"](), 2, "cut"), ValueError, "'chunk'. .* mode='cut'"),
    (lambda: TruncatedWrapper(LAYERS["gru"](stateful=True), 2), ValueError, "stateful=True"),
    (lambda: TruncatedWrapper(LAYERS["gru"](unroll=True), 2), ValueError, "unroll=True"),
    (lambda: TruncatedWrapper(LAYERS["gru"](use_cudnn=True), 2), ValueError, "use_cudnn=False"),
    (
        lambda: TruncatedWrapper(LAYERS["gru"](), 2)(np.ones([2, 3, 4, 5], "float32")),
        ValueError,
        r"\[batch, time, features\]",
    ),
    (
        lambda: TruncatedWrapper(LAYERS["gru"](), 2)(inputs(), mask=tf.ones([B, T + 1], tf.bool)),
        ValueError,
        r"`mask` of .* Received: mask.shape=\(2, 5\)",
    ),
    (
        lambda: TruncatedWrapper(LAYERS["gru"](), 2)(inputs(), initial_state=[tf.zeros([B, H])]),
        ValueError,
        "`initial_state` must be None in mode 'window'",
    ),
    (
        lambda: TruncatedWrapper(LAYERS["gru"](), 2, "chunk")(
            inputs(), initial_state=[tf.zeros([B, H + 1])]
        ),
        ValueError,
        r"`initial_state` of .* shapes \[\(2, 5\)\]. Received: shapes \[\(2, 6\)\]",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_docstring_example():
    module = importlib.import_module("rnnzoo.layers.truncated_wrapper")
    assert doctest.testmod(module).failed == 0
