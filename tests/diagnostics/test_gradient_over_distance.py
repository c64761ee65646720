"""Gradients over distance, against one backward pass for each pair of times."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import diagnostics, layers

TIME, REACH = 7, 3


def pairwise(run, x, losses, weights, reach):
    """Means by distance from a backward pass through the whole sequence for every loss time."""
    sums, pairs = np.zeros(reach + 1), np.zeros(reach + 1)
    with tf.GradientTape(persistent=True) as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        steps = tf.unstack(losses(run(inputs)), axis=1)
    for s, loss in enumerate(steps):
        gradient = tf.convert_to_tensor(tape.gradient(loss, inputs)).numpy()
        for i in range(min(reach, s) + 1):
            sums[i] += weights[:, s, s - i] @ np.linalg.norm(gradient[:, s - i], axis=-1)
            pairs[i] += weights[:, s, s - i].sum()
    return np.divide(sums, pairs, out=np.full(reach + 1, np.nan), where=pairs > 0), pairs


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def test_every_pair_as_by_itself(rng):
    """Two layers, blocks that do not divide the time, rows of a last smaller batch, weights."""
    kinds = layers.StableRNN, keras.layers.SimpleRNN
    inner = [kind(3, return_sequences=True) for kind in kinds]
    model = keras.Sequential([keras.Input((None, 2)), *inner, keras.layers.Dense(2)])
    x = rng.normal(size=[3, TIME, 2]).astype("float32")
    y = rng.normal(size=[3, TIME, 2]).astype("float32")
    weights = rng.integers(0, 3, [3, TIME]).astype("float64")
    found = diagnostics.gradient_over_distance(
        model, (x, y, weights), REACH, loss="mse", block=3, batch_size=2
    )
    expected, pairs = pairwise(
        model,
        x,
        lambda out: keras.losses.mean_squared_error(y, out),
        np.repeat(weights[:, :, None], TIME, 2),
        REACH,
    )
    np.testing.assert_allclose(found.mean, expected, rtol=2e-5)
    np.testing.assert_array_equal(found.pairs, pairs)
    assert inner[0].form == "auto"
    assert found.plot().axes[0].lines[0].get_ydata().tolist() == found.mean.tolist()


def test_tokens_with_masked_steps(rng):
    embedding = keras.layers.Embedding(5, 3, mask_zero=True, name="embedding")
    rnn, head = keras.layers.SimpleRNN(4, return_sequences=True), keras.layers.Dense(5)
    model = keras.Sequential([keras.Input((None,), dtype="int32"), embedding, rnn, head])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = rng.integers(1, 5, [2, TIME]).astype("int32")
    x[0, :2] = x[1, 5:] = 0
    y = rng.integers(0, 5, [2, TIME])
    real = (x > 0).astype("float64")
    data = tf.data.Dataset.from_tensors((x, y, real))
    found = diagnostics.gradient_over_distance(model, data, TIME + 2, layer="embedding")
    expected, pairs = pairwise(
        lambda inputs: head(rnn(inputs, mask=tf.constant(x > 0))),
        embedding(x).numpy(),
        lambda out: model.loss.call(y, out),
        real[:, :, None] * real[:, None],
        TIME - 1,
    )
    np.testing.assert_allclose(found.mean[:5], expected[:5], rtol=2e-5)
    np.testing.assert_array_equal(found.pairs[:TIME], pairs)
    # Five real steps in each row have no pair further apart than 4.
    assert np.isnan(found.mean[5:]).all()
    assert (found.pairs[5:] == 0).all()


def test_one_loss_at_the_end(rng):
    rnn = keras.layers.SimpleRNN(2, activation="linear", use_bias=False)
    model = keras.Sequential([keras.Input((None, 1)), rnn])
    model.set_weights([np.array([[1.0, 0.0]]), np.diag([0.5, 0.25])])
    x = rng.normal(size=[3, TIME, 1]).astype("float32")
    y, weights = np.zeros([3, 2], "float32"), np.array([1.0, 0.0, 2.0])
    found = diagnostics.gradient_over_distance(
        model, (x, y, weights), 4, loss=lambda y, out: out[:, 0]
    )
    np.testing.assert_allclose(found.mean, 0.5 ** np.arange(5), rtol=1e-6)
    assert found.pairs.tolist() == [3.0] * 5


def test_bad_input():
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.LSTM(2, return_sequences=True)])
    x = np.zeros([1, 4, 2], "float32")
    measure = diagnostics.gradient_over_distance
    with pytest.raises(ValueError, match="`loss` must be given"):
        measure(model, (x, x))
    with pytest.raises(ValueError, match=r"one value for each step, .* Received: .*\(1, 4, 2\)"):
        measure(model, (x, x), loss=lambda y, p: p)
    with pytest.raises(ValueError, match=r"`layer` must be one of .* Received: layer='nobody'"):
        measure(model, (x, x), loss="mse", layer="nobody")
    with pytest.raises(ValueError, match=r"`max_distance` .* Received: max_distance=-1"):
        measure(model, (x, x), -1, loss="mse")
    with pytest.raises(ValueError, match=r"weights in .*\(1, 4\)\. Received: shape \(1, 2\)"):
        measure(model, (x, x, np.ones([1, 2])), loss="mse")
    with pytest.raises(ValueError, match=r"\(x, y\) or \(x, y, weights\). Received: 1 parts"):
        measure(model, (x,), loss="mse")
    with pytest.raises(ValueError, match=r"the axes \(1, 4\) of .* Received: shape \(1, 1, 2\)"):
        measure(model, (x, x[:, :1]), loss="mse")
    with pytest.raises(ValueError, match="at least one batch"):
        measure(model, [], loss="mse")
    with pytest.raises(TypeError, match=r"`data` must be .* Received: data of type str"):
        measure(model, "train", loss="mse")
    tokens = keras.Sequential(
        [keras.Input((None,), dtype="int32"), keras.layers.Embedding(3, 2), keras.layers.LSTM(2)]
    )
    with pytest.raises(ValueError, match=r"`layer` must name .* Received: x of int32"):
        measure(tokens, (np.zeros([1, 4], "int32"), x[:, 0]), loss="mse")
    floats = keras.Sequential([keras.Input((None,)), *tokens.layers])
    with pytest.raises(ValueError, match=r"`layer` must name .* Received: x of float32"):
        measure(floats, (np.zeros([1, 4], "int32"), x[:, 0]), loss="mse")
    static, sequence = keras.Input((4,), name="static"), keras.Input((None, 2), name="sequence")
    last = keras.layers.Concatenate()([static, keras.layers.SimpleRNN(2)(sequence)])
    with pytest.raises(ValueError, match=r"over time as its first.*\['static', 'sequence'\]"):
        measure(keras.Model([static, sequence], last), ([x[:, 0], x], x[:, 0]), loss="mse")


def test_features_of_any_rank_and_batches_without_rows():
    """x [B, T] and [B, T, 2, 1], integers, have the gradients of [B, T, 1] and [B, T, 2]."""
    flat = np.arange(2 * TIME).reshape(2, TIME)
    for x, widen, features in [
        (flat, lambda v: v[..., None], 1),
        (np.stack([flat, -flat], -1)[..., None], lambda v: v[..., 0], 2),
    ]:
        rnn = keras.layers.SimpleRNN(1, "linear", use_bias=False, return_sequences=True)
        widened = keras.layers.Lambda(widen, name="widen")
        model = keras.Sequential([keras.Input((None, *x.shape[2:])), widened, rnn])
        model.set_weights([np.ones([features, 1]), np.array([[0.5]])])
        found = diagnostics.gradient_over_distance(
            model,
            [(x, x), (x[:0], x[:0])],
            2,
            loss=lambda y, out: out[..., 0],
            block=TIME,
            time_local="widen",
        )
        np.testing.assert_allclose(found.mean, np.sqrt(features) * 0.5 ** np.arange(3), rtol=1e-6)
        assert found.pairs.tolist() == [2 * TIME, 2 * TIME - 2, 2 * TIME - 4]


def test_other_inputs_stay_and_a_layer_within_may_stand_for_x(rng):
    """Tokens of two kinds: one embedding is x, the other is recomputed from its own input."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    marks = keras.Input((None, 2), name="marks")
    embedding, extra = keras.layers.Embedding(4, 3, name="words"), keras.layers.Dense(3)
    rnn, head = keras.layers.SimpleRNN(3, return_sequences=True), keras.layers.Dense(1)

    def behind(hidden, marks):
        return head(rnn(keras.ops.add(hidden, extra(marks))))

    model = keras.Model([marks, tokens], behind(embedding(tokens), marks))
    x = [rng.normal(size=[2, TIME, 2]).astype("float32"), rng.integers(0, 4, [2, TIME])]
    y = np.zeros([2, TIME, 1], "float32")
    found = diagnostics.gradient_over_distance(model, (x, y), REACH, loss="mse", layer="words")
    expected, _ = pairwise(
        lambda inputs: behind(inputs, tf.constant(x[0])),
        embedding(x[1]).numpy(),
        lambda out: keras.losses.mean_squared_error(y, out),
        np.ones([2, TIME, TIME]),
        REACH,
    )
    np.testing.assert_allclose(found.mean, expected, rtol=2e-5)
