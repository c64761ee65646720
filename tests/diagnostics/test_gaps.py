"""Gradient gaps and weight gaps, against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import diagnostics, layers

TIME = 6


def linear_model():
    rnn = keras.layers.SimpleRNN(1, "linear", use_bias=False, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 1)), rnn])
    model.set_weights([np.array([[0.7]]), np.array([[0.6]])])
    return model


def linear_gradients(x, coefficients, k, mode):
    """d/d(u, w) of the weighted mean of p_t, with h_t = u x_t + w h_{t-1}, cut to k steps."""
    u, w = 0.7, 0.6
    total = np.zeros(2)
    for row, weights in zip(x[..., 0].astype("float64"), coefficients):
        h = np.zeros(TIME + 1)
        for t in range(TIME):
            h[t + 1] = u * row[t] + w * h[t]
        for t in range(TIME):
            for j in range(min(k, t + 1)):
                by_u = w**j * row[t - j]
                by_w = (
                    w**j * h[t - j]
                    if mode == "gradient"
                    else j * w ** max(j - 1, 0) * u * (row[t - j])
                )
                total += weights[t] * np.array([by_u, by_w])
    return total / coefficients.sum()


@pytest.mark.parametrize("mode", ["gradient", "window"])
def test_gradient_gap_of_a_linear_recurrence(mode):
    rng = np.random.default_rng(2)
    x = rng.normal(size=[3, TIME, 1]).astype("float32")
    weights = rng.integers(0, 3, [3, TIME]).astype("float32")
    data = (x, x, weights)
    found = diagnostics.gradient_gap(
        linear_model(), data, [1, 3], loss=lambda y, p: p[..., 0], mode=mode, batch_size=2
    )
    full = linear_gradients(x, weights, TIME, mode)
    expected = [np.linalg.norm(full - linear_gradients(x, weights, k, mode)) for k in (1, 3)]
    np.testing.assert_allclose(found.absolute, expected, rtol=1e-4, atol=1e-6)
    assert found.norm == pytest.approx(np.linalg.norm(full), rel=1e-5)
    np.testing.assert_allclose(found.relative, found.absolute / found.norm)
    assert found.k.tolist() == [1, 3]
    assert found.plot().axes[0].get_xlabel() == "k"


def test_gradient_gap_leaves_the_model_alone_and_follows_trainable():
    lru = layers.LRU(3, name="lru")
    model = keras.Sequential([keras.Input((None, 2)), lru, keras.layers.Dense(1, name="head")])
    model.compile(loss="mse")
    x, y = np.ones([2, TIME, 2], "float32"), np.zeros([2, 1], "float32")
    whole = diagnostics.gradient_gap(model, (x, y), 2)
    lru.trainable = False
    head = diagnostics.gradient_gap(model, (x, y), 2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    gradient = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert head.norm == pytest.approx(np.sqrt(sum(np.sum(g.numpy() ** 2) for g in gradient)))
    assert head.norm < whole.norm
    # The values are the full recurrence's, so the head's gradient has lost nothing.
    assert head.relative[0] < 1e-5 < whole.relative[0]
    assert model.layers[0] is lru


def test_gradient_gap_of_a_nested_model_and_of_one_layer_within_another():
    x = np.ones([1, TIME, 1], "float32")
    nested = keras.Sequential([keras.Input((None, 1)), linear_model()])
    options = {"loss": lambda y, p: p[..., 0]}
    found = diagnostics.gradient_gap(nested, (x, x, None), 2, **options)
    ones = np.ones([1, TIME])
    full, cut = (linear_gradients(x, ones, k, "gradient") for k in (TIME, 2))
    np.testing.assert_allclose(found.absolute, np.linalg.norm(full - cut), rtol=1e-5)
    both = keras.layers.Bidirectional(keras.layers.SimpleRNN(1, return_sequences=True), name="both")
    hidden = keras.Sequential([keras.Input((None, 1)), both, keras.layers.SimpleRNN(1)])
    with pytest.raises(ValueError, match=r"truncated. Received: 'both', a Bidirectional"):
        diagnostics.gradient_gap(hidden, (x, x[:, 0]), 2, "mse")


def test_gradient_gap_bad_input():
    model, x = linear_model(), np.ones([1, TIME, 1], "float32")
    with pytest.raises(TypeError, match=r"`k` must be an integer. Received: k=None"):
        diagnostics.gradient_gap(model, (x, x), None, "mse")
    with pytest.raises(TypeError, match=r"arrays. Received: a tuple of \['list', 'list'\]"):
        diagnostics.gradient_gap(model, (x.tolist(), x.tolist()), 2, "mse")
    for call, words in [
        (lambda: diagnostics.gradient_gap(model, (x, x), 0, "mse"), "`k` .* Received: k=0"),
        (lambda: diagnostics.gradient_gap(model, (x, x), [], "mse"), "`k` must hold"),
        (lambda: diagnostics.gradient_gap(model, (x, x), 2, "mse", "chop"), "`mode` must be"),
        (lambda: diagnostics.gradient_gap(model, (x, x), 2), "`loss` must be given"),
        (
            lambda: diagnostics.gradient_gap(model, (x, x, np.zeros([1, TIME])), 2, "mse"),
            "weights that are not all 0",
        ),
        (
            lambda: diagnostics.gradient_gap(model, (x, np.ones([2, TIME, 1])), 2, "mse"),
            r"as many rows .* Received: arrays of shapes \[\(1, 6, 1\), \(2, 6, 1\)\]",
        ),
        (
            lambda: diagnostics.gradient_gap(model, (x, x[:, :1]), 2, "mse"),
            r"the axes \(1, 6\) of the outputs. Received: shape \(1, 1, 1\)",
        ),
        (
            lambda: diagnostics.gradient_gap(model, (x, x, np.zeros([1, 2])), 2, "mse"),
            r"shape \(1, 6\). Received: shape \(1, 2\)",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_weight_gap_by_layer():
    def make():
        inner = keras.Sequential(
            [keras.Input((None, 2)), keras.layers.SimpleRNN(3, name="rnn")], name="inner"
        )
        return keras.Sequential([keras.Input((None, 2)), inner, keras.layers.Dense(1, name="head")])

    a, b = make(), make()
    gap = diagnostics.weight_gap(a, b)
    pairs = list(zip(a.get_weights(), b.get_weights()))
    squares = [np.sum((p.astype("float64") - q) ** 2) for p, q in pairs]
    assert gap.total == pytest.approx(np.sqrt(sum(squares)))
    assert gap.relative == pytest.approx(
        np.sqrt(sum(squares) / sum(np.sum(p.astype("float64") ** 2) for p, _ in pairs))
    )
    assert gap.layers["inner"] == pytest.approx(np.sqrt(sum(squares[:3])))
    assert gap.layers["head"] == pytest.approx(np.sqrt(sum(squares[3:])))
    assert diagnostics.weight_gap(a, a).total == 0.0
    assert len(gap.plot().axes[0].patches) == 2


def test_weight_gap_bad_input():
    one, two = keras.layers.Dense(1), keras.layers.Dense(2)
    with pytest.raises(ValueError, match="`a` must be built"):
        diagnostics.weight_gap(one, two)
    one.build((None, 3))
    two.build((None, 3))
    with pytest.raises(ValueError, match=r"kernel of \(3, 1\) in a, .*kernel of \(3, 2\) in b"):
        diagnostics.weight_gap(one, two)
    with pytest.raises(TypeError, match="`b` must be a Keras model"):
        diagnostics.weight_gap(one, [])
    bare = keras.layers.Dense(1, use_bias=False)
    bare.build((None, 3))
    with pytest.raises(ValueError, match="Received: 2 weights in a, 1 in b"):
        diagnostics.weight_gap(one, bare)
