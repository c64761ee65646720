"""The Hessian, against differences of gradients in float64 and by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import diagnostics, layers

TIME = 4


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def by_differences(model, x, y, weights):
    """Central differences of the gradient of the weighted mean of squares, in float64."""
    flat = np.concatenate([w.ravel() for w in model.get_weights()])
    shapes = [w.shape for w in model.get_weights()]
    cuts = np.cumsum([int(np.prod(s)) for s in shapes])[:-1]

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            squares = tf.reduce_mean((model(x, training=False) - y) ** 2, -1)
            loss = tf.reduce_sum(weights * squares) / np.sum(weights)
        parts = tape.gradient(loss, [v.value for v in model.trainable_variables])
        return tf.concat([tf.reshape(p, [-1]) for p in parts], 0)

    rows = []
    for i in range(len(flat)):
        ends = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[i] += sign * 1e-5
            model.set_weights([p.reshape(s) for p, s in zip(np.split(moved, cuts), shapes)])
            ends.append(gradient().numpy())
        rows.append((ends[0] - ends[1]) / 2e-5)
    model.set_weights([p.reshape(s) for p, s in zip(np.split(flat, cuts), shapes)])
    return np.stack(rows)


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: keras.layers.GRU(2, **k),
        lambda **k: layers.HDetachLSTM(2, p=1.0, **k),
        lambda **k: layers.LRU(2, form="autodiff", **k),
    ],
)
def test_against_differences(make, rng):
    model, data = model_and_data(make, rng)
    whole = diagnostics.hessian(model, data, "mse", batch_size=2)
    expected = by_differences(model, *data)
    np.testing.assert_allclose(whole.matrix, expected, rtol=1e-6, atol=1e-8)
    ends = [cut.stop for cut in whole.weights.values()]
    assert ends[-1] == len(expected)
    assert list(whole.weights)[-1].endswith("head/bias")


def model_and_data(make, rng):
    rnn = make(return_sequences=True, dtype="float64", name="rnn")
    head = keras.layers.Dense(1, dtype="float64", name="head")
    model = keras.Sequential([keras.Input((None, 2), dtype="float64"), rnn, head])
    x, y = rng.normal(size=[4, TIME, 2]), rng.normal(size=[4, TIME, 1])
    return model, (x, y, rng.integers(0, 3, [4, TIME]).astype("float64"))


def test_lanczos_against_the_whole(rng):
    model, data = model_and_data(lambda **k: keras.layers.SimpleRNN(3, **k), rng)
    whole = diagnostics.hessian(model, data, "mse")
    some = diagnostics.hessian(model, data, "mse", top=3, tolerance=1e-10)
    assert (np.diff(np.abs(whole.eigenvalues)) <= 0).all()
    rotated = whole.matrix @ whole.eigenvectors
    np.testing.assert_allclose(rotated, whole.eigenvectors * whole.eigenvalues, atol=1e-10)
    assert some.matrix is None
    np.testing.assert_allclose(some.eigenvalues, whole.eigenvalues[:3], rtol=1e-9)
    overlap = np.abs(np.sum(some.eigenvectors * whole.eigenvectors[:, :3], axis=0))
    np.testing.assert_allclose(overlap, 1.0, rtol=1e-9)
    np.testing.assert_allclose(some.concentration, whole.concentration[:3], rtol=1e-6)
    assert len(some.plot().axes[0].collections[0].get_offsets()) == 3


def test_concentration_by_hand():
    """The Hessian of half squares is the mean of x x': its eigenvectors are those of the data."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    spread = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2.0
    scales, y = np.diag([4.0, 3.0, 2.0, 1.0]), np.zeros([4, 1], "float32")

    def half_squares(y, p):
        return 0.5 * (p - y)[:, 0] ** 2

    for basis, concentration in ((np.eye(4), 1.0), (spread, 0.25)):
        x = (scales @ basis).astype("float32")
        found = diagnostics.hessian(model, (x, y), half_squares)
        np.testing.assert_allclose(found.eigenvalues, [4.0, 2.25, 1.0, 0.25], rtol=1e-5)
        np.testing.assert_allclose(found.concentration, concentration, rtol=1e-5)


def test_bad_input():
    x = np.zeros([1, TIME, 1], "float32")

    def model(form):
        rnn = layers.StableRNN(1, form=form, return_sequences=True, name="rnn")
        return keras.Sequential([keras.Input((None, 1)), rnn])

    for form in ("adjoint", "xla"):
        words = f"Received: 'rnn' with form='{form}'.* give it form='plain'"
        with pytest.raises(ValueError, match=words):
            diagnostics.hessian(model(form), (x, x), "mse")
    with pytest.raises(ValueError, match=r"`top` must be below .* 3. Received: top=3"):
        diagnostics.hessian(model("auto"), (x, x), "mse", top=3)
    with pytest.raises(ValueError, match=r"`tolerance` .* Received: tolerance=0"):
        diagnostics.hessian(model("auto"), (x, x), "mse", top=1, tolerance=0)
    with pytest.raises(ValueError, match="weights that are not all 0"):
        diagnostics.hessian(model("auto"), (x, x, np.zeros([1, TIME])), "mse")
    large = keras.Sequential([keras.Input((64,)), keras.layers.Dense(65)])
    y = np.zeros([1, 65], "float32")
    with pytest.raises(ValueError, match=r"`top` must be given .* top=None, 4225 weights"):
        diagnostics.hessian(large, (np.zeros([1, 64], "float32"), y), "mse")
    large.trainable = False
    with pytest.raises(ValueError, match="`model` must have trainable weights"):
        diagnostics.hessian(large, (np.zeros([1, 64], "float32"), y), "mse")
