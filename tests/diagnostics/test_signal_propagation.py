"""Mean squares of signals and gradients, against NumPy and tapes over parts of the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import diagnostics, layers

TIME = 5


def test_a_stack_of_two_layers_by_parts():
    lru = layers.LRU(3, return_sequences=True, seed=1, name="lru")
    rnn = keras.layers.SimpleRNN(2, return_sequences=True, name="rnn")
    head = keras.layers.Dense(1, name="head")
    inputs = keras.Input((None, 2))
    model = keras.Model(inputs, head(rnn(lru(keras.layers.Masking()(inputs)))))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=[4, TIME, 2]), rng.normal(size=[4, TIME, 1])
    x[0, 3:] = x[2, 1] = 0.0
    x, y, real = x.astype("float32"), y.astype("float32"), (x != 0).any(-1)
    weights = real.astype("float64")
    found = diagnostics.signal_propagation(model, (x, y, weights), "mse", batch_size=2)
    assert lru.form == "auto"

    h, squares = np.zeros([4, 3], complex), []
    b = lru.cell.B_re.numpy() + 1j * lru.cell.B_im.numpy()
    b *= np.exp(lru.cell.gamma_log.numpy())[:, None]
    for t in range(TIME):
        h = np.where(real[:, t, None], lru.eigenvalues() * h + x[:, t] @ b.T, h)
        squares.append(np.abs(h[real[:, t]]) ** 2 / 2)  # two reals stand for one complex number
    assert found.states["lru"] == pytest.approx(np.mean(np.concatenate(squares)), rel=1e-5)

    moments = {"lru": [], "rnn": []}
    slopes, kernel = {"lru": [], "rnn": []}, []
    for part in (slice(0, 2), slice(2, 4)):
        mask, weight = tf.constant(real[part]), weights[part]
        with tf.GradientTape() as tape:
            first = lru(x[part], mask=mask)
            second = rnn(first, mask=mask)
            errors = tf.reduce_mean((head(second) - y[part]) ** 2, -1)
            loss = tf.reduce_sum(weight * tf.cast(errors, tf.float64)) / weight.sum()
        *by, by_kernel = tape.gradient(loss, [first, second, rnn.cell.recurrent_kernel.value])
        for name, value, slope in zip(("lru", "rnn"), (first, second), by):
            moments[name].append(value.numpy()[real[part]])
            slopes[name].append(slope.numpy()[real[part]])
        kernel.append(by_kernel.numpy())
    for name in ("lru", "rnn"):
        expected = np.mean(np.concatenate(moments[name]) ** 2)
        assert found.outputs[name] == pytest.approx(expected, rel=1e-5)
        expected = np.mean(np.concatenate(slopes[name]) ** 2)
        assert found.output_gradients[name] == pytest.approx(expected, rel=1e-4)
    assert found.states["rnn"] == pytest.approx(found.outputs["rnn"], rel=1e-5)
    path = rnn.cell.recurrent_kernel.path
    assert found.weight_gradients[path] == pytest.approx(np.mean(np.square(kernel)), rel=1e-4)
    assert list(found.weight_gradients) == [v.path for v in model.trainable_variables]
    assert len(found.plot().axes) == 4


def test_bad_input():
    x, y = np.zeros([2, TIME, 1], "float32"), np.zeros([2, TIME], "float32")
    rnn = keras.layers.SimpleRNN(1, return_sequences=True, name="rnn")
    inputs = keras.Input((None, 1))
    twice = keras.Model(inputs, rnn(rnn(inputs)))
    with pytest.raises(ValueError, match=r"each recurrent layer once.*\['rnn', 'rnn'\]"):
        diagnostics.signal_propagation(twice, (x, x), "mse")
    dense = keras.Sequential([inputs, keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must have a recurrent layer"):
        diagnostics.signal_propagation(dense, (x, x), "mse")
    model = keras.Model(inputs, rnn(inputs))
    with pytest.raises(ValueError, match="a batch whose weights sum to 0"):
        diagnostics.signal_propagation(model, (x, x, y), "mse")
