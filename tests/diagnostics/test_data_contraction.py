"""Gains on reached states, against NumPy over all of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import diagnostics, layers
from rnnzoo.diagnostics import _data_contraction


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(size=[3, 5, 2]).astype("float32")


def test_all_pairs_and_jacobians_of_a_simple_rnn(x):
    """More points than steps: the sample is every step, and NumPy can make them all."""
    x = x.copy()
    x[0, 3:] = 0.0  # masked: these two steps do not happen
    rnn = keras.layers.SimpleRNN(3, recurrent_initializer="glorot_normal", name="rnn")
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.Masking(), rnn])
    found = diagnostics.data_contraction(model, x, points=50)["rnn"]
    kernel, recurrent, bias = (w.astype("float64") for w in rnn.get_weights())
    steps = []
    for row in x.astype("float64"):
        state = np.zeros(3)
        for value in row:
            if value.any():
                steps.append((state, value))
                state = np.tanh(value @ kernel + state @ recurrent + bias)
    ratios, norms = [], []
    for state, value in steps:
        after = np.tanh(value @ kernel + state @ recurrent + bias)
        norms.append(np.linalg.norm(recurrent * (1.0 - after**2), 2))
        for other, _ in steps:
            if np.abs(other - state).max() > 0:
                moved = np.tanh(value @ kernel + other @ recurrent + bias) - after
                ratios.append(np.linalg.norm(moved) / np.linalg.norm(other - state))
    assert len(found.jacobian_norms) == len(steps) == 13
    assert found.pair_ratios.size == len(ratios)
    np.testing.assert_allclose(np.sort(found.pair_ratios), np.sort(ratios), rtol=1e-4)
    np.testing.assert_allclose(np.sort(found.jacobian_norms), np.sort(norms), rtol=1e-5)
    assert found.pairs == found.pair_ratios.max()
    assert found.jacobian == found.jacobian_norms.max()
    assert found.plot().axes[0].get_legend() is not None


def test_from_below_of_the_certificates(x):
    stack = [
        layers.StableLSTM(3, return_sequences=True, name="lstm"),
        layers.LRU(4, return_sequences=True, name="lru"),
        layers.StableRNN(4, contraction=0.8, name="rnn"),
    ]
    lstm = keras.Sequential([keras.Input((None, 2)), stack[0]])
    found = diagnostics.data_contraction(lstm, (x, x), points=12, norm="inf")
    assert 0.1 < found["lstm"].jacobian <= stack[0].contraction()
    assert 0.1 < found["lstm"].pairs <= stack[0].contraction()
    model = keras.Sequential([keras.Input((None, 2)), *stack[1:]])
    found = diagnostics.data_contraction(model, [(x, x), (x, x)], points=12)
    # A diagonal linear step moves every pair by its Jacobian.
    assert found["lru"].jacobian == pytest.approx(stack[1].contraction(), rel=1e-5)
    assert found["lru"].pairs <= stack[1].contraction() * (1 + 1e-5)
    assert found["rnn"].jacobian <= stack[2].contraction()
    assert found["rnn"].pairs <= stack[2].contraction()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_sample_is_uniform_seeded_and_of_every_batch(seed):
    layer = keras.layers.SimpleRNN(1, "linear")
    layer.build((None, None, 1))
    numbers = np.arange(1200, dtype="float32").reshape(30, 40, 1)

    def sample(seed, parts):
        walk = _data_contraction._Walk(layer, 200, seed)
        for part in np.split(numbers, parts):
            walk.sample(tf.constant(part))
        return walk.inputs[:, 0]

    steps = sample(seed, 3)
    assert len(set(steps.tolist())) == 200
    # 200 of 1,200 without putting back: beyond 0.11 lies about one sample in 100.
    place = np.sort(steps) / 1200
    assert np.abs(place - np.arange(200) / 200).max() < 0.11
    np.testing.assert_array_equal(sample(seed, 3), steps)
    assert not np.array_equal(sample(2, 3), steps)


def test_both_calls_of_a_layer_are_sampled(x):
    rnn = keras.layers.SimpleRNN(2, return_sequences=True, name="rnn")
    inputs = keras.Input((None, 2))
    model = keras.Model(inputs, rnn(rnn(inputs)))
    found = diagnostics.data_contraction(model, x, points=50)["rnn"]
    assert found.jacobian_norms.size == 2 * x.shape[0] * x.shape[1]


def test_rounding_of_a_half_precision_decides_nothing():
    """h = h / 2 + 1 comes so close to 2 that bfloat16 moves neighbours by all their distance."""
    rnn = keras.layers.SimpleRNN(1, "linear", dtype="mixed_bfloat16", name="rnn")
    model = keras.Sequential([keras.Input((None, 1)), rnn])
    model.set_weights([np.zeros([1, 1]), np.array([[0.5]]), np.ones(1)])
    found = diagnostics.data_contraction(model, np.zeros([1, 20, 1], "float32"))["rnn"]
    assert 0.45 < found.pairs < 0.55


def test_a_plot_of_no_pairs(x):
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.SimpleRNN(2, name="rnn")])
    found = diagnostics.data_contraction(model, x[:, :1], points=5)["rnn"]
    assert np.isnan(found.pairs)
    assert [t.get_text() for t in found.plot().axes[0].get_legend().get_texts()] == [
        "Jacobian norms"
    ]


def test_bad_input(x):
    dense = keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must have a recurrent layer"):
        diagnostics.data_contraction(dense, x)
    inputs, state = keras.Input((None, 2)), keras.Input((3,))
    outputs = keras.layers.SimpleRNN(3, name="rnn")(inputs, initial_state=state)
    with pytest.raises(ValueError, match=r"no initial state. Received: 'rnn'"):
        diagnostics.data_contraction(keras.Model([inputs, state], outputs), x)
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.SimpleRNN(3)])
    masked = keras.Sequential([keras.Input((None, 2)), keras.layers.Masking(), *model.layers])
    with pytest.raises(ValueError, match=r"not masked. Received: none for the layer 'simple_rnn"):
        diagnostics.data_contraction(masked, 0 * x)
    images = keras.Sequential([keras.Input((2, 4, 4, 1)), keras.layers.ConvLSTM2D(1, 3)])
    with pytest.raises(ValueError, match=r"\[B, T, F\]. Received: .* \(None, 2, 4, 4, 1\)"):
        diagnostics.data_contraction(images, np.zeros([1, 2, 4, 4, 1], "float32"))
    with pytest.raises(ValueError, match=r"`points` .* Received: points=1"):
        diagnostics.data_contraction(model, x, points=1)
    with pytest.raises(ValueError, match=r"`norm` must be one of 2, 'inf'. Received: norm=1"):
        diagnostics.data_contraction(model, x, norm=1)
