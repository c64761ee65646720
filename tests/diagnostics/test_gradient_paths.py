"""The two parts of an LSTM's gradient, against tapes and against h-detach itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import diagnostics, layers

TIME = 6


def deep(rnn):
    """An LSTM behind a mask and below another layer and a head, in float64."""
    inputs = keras.Input((None, 2), dtype="float64")
    hidden = rnn(keras.layers.Masking()(inputs))
    upper = keras.layers.SimpleRNN(2, return_sequences=True, dtype="float64")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(upper))


def data():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=[3, TIME, 2]), rng.normal(size=[3, TIME, 1])
    x[0, 4:] = x[1, 2] = x[2, 0] = 0.0
    return x, y, rng.integers(0, 3, [3, TIME]).astype("float64")


def tape_gradient(model, rnn, x, y, weights, training):
    with tf.GradientTape() as tape:
        squares = tf.reduce_mean((model(x, training=training) - y) ** 2, -1)
        loss = tf.reduce_sum(weights * squares) / weights.sum()
    return tape.gradient(loss, [v.value for v in rnn.trainable_variables])


def test_the_sum_is_the_gradient_and_h_detach_leaves_the_linear_part():
    """At p = 1 a training step of HDetachLSTM cuts every B; at inference it is the whole."""
    rnn = layers.HDetachLSTM(3, p=1.0, return_sequences=True, dtype="float64", name="rnn")
    model, (x, y, weights) = deep(rnn), data()
    found = diagnostics.gradient_paths(model, (x, y, weights), "mse", batch_size=2)
    assert list(found.linear) == ["kernel", "recurrent_kernel", "bias"]
    whole = tape_gradient(model, rnn, x, y, weights, training=False)
    detached = tape_gradient(model, rnn, x, y, weights, training=True)
    for i, name in enumerate(found.linear):
        linear, rest = found.linear[name], found.rest[name]
        np.testing.assert_allclose(linear + rest, whole[i], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(linear, detached[i], rtol=1e-9, atol=1e-12)
        assert np.abs(rest).max() > 1e-4


def test_one_output_at_the_end_of_a_keras_lstm_and_the_norms_over_time():
    rnn = keras.layers.LSTM(3, use_bias=False, go_backwards=True, name="rnn", use_cudnn=False)
    model = keras.Sequential([keras.Input((None, 2)), rnn])
    x = data()[0].astype("float32")
    y = np.zeros([3, 3], "float32")
    found = diagnostics.gradient_paths(model, [(x, y)], loss=lambda y, h: h[:, 0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x)[:, 0])
    whole = tape.gradient(loss, [v.value for v in rnn.trainable_variables])
    assert list(found.rest) == ["kernel", "recurrent_kernel"]
    for name, gradient in zip(found.linear, whole):
        total = found.linear[name] + found.rest[name]
        np.testing.assert_allclose(total, gradient, rtol=1e-4, atol=1e-7)
    # Along c alone the gradient shrinks by the forget gate; the last step has no other path.
    assert found.rest_by_time[-1] == 0.0
    assert (np.diff(found.linear_by_time) > 0).all()
    assert (found.rest_by_time[:-1] > 0).all()
    assert [line.get_label() for line in found.plot().axes[0].lines] == ["linear", "rest"]


def test_bad_input():
    x, y, _ = (part.astype("float32") for part in data())
    gru = keras.Sequential([keras.Input((None, 2)), keras.layers.GRU(2)])
    with pytest.raises(ValueError, match="`model` must have a LSTM layer"):
        diagnostics.gradient_paths(gru, (x, y), "mse")
    odd = keras.Sequential(
        [keras.Input((None, 2)), keras.layers.LSTM(1, recurrent_activation="relu", name="odd")]
    )
    with pytest.raises(ValueError, match=r"LSTM with tanh and sigmoid, .* Received: 'odd'"):
        diagnostics.gradient_paths(odd, (x, y), "mse")
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.LSTM(1, return_sequences=True)])
    with pytest.raises(ValueError, match=r"shape \(3, 6\). Received: shape \(3, 2\)"):
        diagnostics.gradient_paths(model, (x, y, np.ones([3, 2])), "mse")
    with pytest.raises(ValueError, match="not all 0"):
        diagnostics.gradient_paths(model, (x, y, np.zeros([3, TIME])), "mse")
    batches = [(x, y), (x[:, :2], y[:, :2])]
    with pytest.raises(ValueError, match=r"one length\. Received: 6 and 2 steps"):
        diagnostics.gradient_paths(model, batches, "mse")
