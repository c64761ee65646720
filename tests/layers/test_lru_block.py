"""LRUBlock against NumPy, what its norm sees of a sequence, and its life in pieces."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erf

import rnnzoo
from rnnzoo.layers import LRUBlock, TruncatedWrapper
from tests.references import lru as reference
from tests.references.lru_layers import EVERYTHING, MASK, normal


def built(units=4, features=3, **options):
    options = {"state_size": 5, "r_min": 0.3, "r_max": 0.9, "seed": 3, **options}
    layer = LRUBlock(units, **{"dtype": "float64", **options})
    layer.build([None, None, features])
    rng = np.random.default_rng(9)
    # Off their first values, where the norm is the identity and biases are zero.
    layer.set_weights([w + 0.1 * rng.uniform(size=w.shape) for w in layer.get_weights()])
    return layer


def numpy_block(layer, weights, x, state, mask, training):
    """`(outputs, state, (mean, variance) of batch norm)`; `weights` by the layer's own order."""
    names = [v.path.split("lru_block_cell/")[1].removeprefix("lru/") for v in layer.weights]
    w = dict(zip(names, weights, strict=True))
    cell, seen = layer.cell, []

    def dense(name, v):
        return v @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def norm(v):
        if cell.norm is None:
            return v
        if cell.norm == "layer":
            mean, variance = v.mean(-1, keepdims=True), v.var(-1, keepdims=True)
        elif training:
            mean, variance = v[mask].mean(0), v[mask].var(0)
        else:
            mean, variance = w["norm/moving_mean"], w["norm/moving_variance"]
        seen.append((mean, variance))
        return (v - mean) / np.sqrt(variance + 1e-3) * w["norm/gamma"] + w["norm/beta"]

    x = dense("encoder", x) if "encoder/kernel" in w else x
    eigenvalues = np.exp(-np.exp(w["nu_log"]) + 1j * np.exp(w["theta_log"]))
    b, c = w["B_re"] + 1j * w["B_im"], w["C_re"] + 1j * w["C_im"]
    z = norm(x) if cell.norm_first else x
    gamma, d = np.exp(w["gamma_log"]), np.diag(w["D"])
    y, last, _ = reference.lru(z, state, eigenvalues, gamma, b, c, d, mask)
    y = y * (1 + erf(y / np.sqrt(2))) / 2
    y = x + dense("value", y) / (1 + np.exp(-dense("gate", y)))
    y = y if cell.norm_first else norm(y)
    return reference.repeated(y, mask), last, seen[0] if seen else None


@pytest.mark.parametrize(
    ("norm", "norm_first", "training", "features"),
    [
        ("batch", True, True, 3),
        ("batch", False, True, 4),
        ("batch", True, False, 4),
        ("layer", True, True, 3),
        (None, True, True, 4),
    ],
)
def test_values_and_every_gradient_equal_numpy(norm, norm_first, training, features):
    layer = built(features=features, norm=norm, norm_first=norm_first, **EVERYTHING)
    x, state = normal(3, 6, features), normal(2, 3, 5, seed=1)
    upstream, final = normal(3, 6, 4, seed=2), normal(2, 3, 5, seed=4)
    weights = layer.get_weights()

    def loss(x, state, *weights):
        initial = state[0] + 1j * state[1]
        y, last, _ = numpy_block(layer, weights, x, initial, MASK, training)
        return (y * upstream).sum() + (last.real * final[0] + last.imag * final[1]).sum()

    wanted, last, _ = numpy_block(layer, weights, x, state[0] + 1j * state[1], MASK, training)
    given, first = tf.constant(x), tf.constant(state)
    variables = layer.trainable_weights
    with tf.GradientTape() as tape:
        tape.watch([given, first])
        states = tf.unstack(first)
        y, *end = layer(given, initial_state=states, mask=tf.constant(MASK), training=training)
        total = tf.add_n([tf.reduce_sum(r * u) for r, u in zip([y, *end], [upstream, *final])])
    gradients = tape.gradient(total, [given, first, *variables])
    # TensorFlow's GELU has the root of 2 in float32; Keras adds 1e-7 to the number of real steps.
    tolerance = 1e-6 if norm == "batch" and training else 1e-8
    for got, want in zip([y, *end], [wanted, last.real, last.imag], strict=True):
        np.testing.assert_allclose(got, want, atol=tolerance)
    at = [0, 1, *(2 + i for i, w in enumerate(layer.weights) if w.trainable)]
    point, size = [x, state, *weights], 1e-5
    for place, gradient in zip(at, gradients, strict=True):
        direction = normal(*point[place].shape, seed=place)
        ends = []
        for sign in (1, -1):
            moved = list(point)
            moved[place] = moved[place] + sign * size * direction
            ends.append(loss(*moved))
        slope = (ends[0] - ends[1]) / (2 * size)
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5, atol=1e-5)


def test_masked_steps_are_no_part_of_the_batch_statistics():
    layer = built(features=4)
    x = normal(3, 6, 4)
    before = layer.cell.normalize.moving_mean.numpy(), layer.cell.normalize.moving_variance.numpy()
    layer(np.where(MASK[..., None], x, np.nan), mask=MASK, training=True)
    norm = layer.cell.normalize
    mean, variance = x[MASK].mean(0), x[MASK].var(0)
    np.testing.assert_allclose(norm.moving_mean, 0.99 * before[0] + 0.01 * mean, rtol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, 0.99 * before[1] + 0.01 * variance, rtol=1e-6)
    kept = norm.moving_mean.numpy()
    layer(x, training=False)
    np.testing.assert_array_equal(norm.moving_mean, kept)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("units", [4, 9])
def test_the_last_output_alone_is_that_of_all(norm, norm_first, units):
    """Values, moving averages and every gradient, in training and at inference."""
    options = {"norm": norm, "norm_first": norm_first}
    layers = [built(units, return_sequences=every, **options) for every in (True, False)]
    x, state = normal(3, 6, 3), list(normal(2, 3, 5, seed=1))
    for mask in (None, MASK):
        for training in (True, False):
            found = []
            for layer in layers:
                with tf.GradientTape() as tape:
                    y = layer(x, initial_state=state, mask=mask, training=training)
                    y = y[:, -1] if layer.return_sequences else y
                    loss = tf.reduce_sum(tf.sin(y))
                gradients = tape.gradient(loss, layer.trainable_weights)
                moved = [w.value for w in layer.non_trainable_weights]
                found.append([y, *gradients, *moved])
            for got, want in zip(*found, strict=True):
                np.testing.assert_allclose(got, want, atol=1e-10)


@pytest.mark.parametrize("options", [EVERYTHING, {"return_state": True, "go_backwards": True}])
@pytest.mark.parametrize("mask", [None, MASK])
def test_equals_keras_over_the_same_cell(options, mask):
    layer = built(norm_first=False, **options)
    theirs = keras.layers.RNN(layer.cell, dtype="float64", **options)
    x, state = normal(3, 6, 3), list(normal(2, 3, 5, seed=1))
    got = tf.nest.flatten(layer(x, mask=mask, initial_state=state))
    for g, w in zip(got, theirs(x, mask=mask, initial_state=state), strict=True):
        np.testing.assert_allclose(g, w, atol=1e-12)


def test_dropout_drops_single_numbers_in_training_alone():
    layer = built(16, features=16, norm=None, dropout=0.3, return_sequences=True)
    x = normal(8, 50, 16)
    changed = layer(x, training=True).numpy() != x
    # What the second dropout drops leaves the skip as it is: 6400 draws, 5 deviations are 0.029.
    assert abs(changed.mean() - 0.7) < 0.029
    assert changed.any(1).all()
    assert changed.any(2).all()
    without = LRUBlock.from_config({**layer.get_config(), "dropout": 0.0})
    without.build([None, None, 16])
    without.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x), without(x, training=True), atol=1e-12)


def test_batch_norm_is_refused_where_training_runs_step_by_step():
    x = normal(2, 6, 3).astype("float32")
    for mode in ("window", "gradient", "chunk"):
        wrapped = TruncatedWrapper(LRUBlock(4, return_sequences=True), k=2, mode=mode)
        wrapped(x)
        with pytest.raises(ValueError, match=r"`norm` must be 'layer' or None .*norm='batch'"):
            wrapped(x, training=True)
    frozen = TruncatedWrapper(LRUBlock(4, trainable=False), k=2)
    np.testing.assert_array_equal(frozen(x, training=True), frozen(x))


def test_windows_are_blocks_over_the_last_steps():
    layer = built(dtype="float32", dropout=0.2, return_sequences=True)
    wrapped = TruncatedWrapper(layer, k=3)
    x = normal(2, 7, 3).astype("float32")
    whole = wrapped(x).numpy()
    for t in range(7):
        part = layer(x[:, max(0, t - 2) : t + 1])[:, -1]
        np.testing.assert_allclose(whole[:, t], part, atol=1e-5)


def deep(norm="batch"):
    blocks = [built(norm=norm, dtype="float32", dropout=0.1) for _ in range(2)]
    blocks = [
        LRUBlock.from_config({**b.get_config(), "name": f"block{i}"}) for i, b in enumerate(blocks)
    ]
    return rnnzoo.stack(blocks, features=3, outputs=2, pooling=None)


def test_a_deep_model_streams_in_chunks_and_steps():
    model = deep()
    stream = rnnzoo.explicit_state(model)
    names = [f"block{i}_{part}" for i in (0, 1) for part in ("state_0", "state_1")]
    assert [n for n in stream.state_names if not n.endswith("_output")] == names
    x = tf.constant(normal(3, 6, 3), tf.float32)
    mask = tf.constant(MASK)
    whole, _ = stream(x, stream.initial_state(3), mask=mask)
    first, state = stream(x[:, :2], stream.initial_state(3), mask=mask[:, :2])
    rest, _ = stream(x[:, 2:], state, mask=mask[:, 2:])
    np.testing.assert_allclose(tf.concat([first, rest], 1), whole, atol=1e-6)
    state = stream.initial_state(3)
    for t in range(6):
        y, state = stream.step(x[:, t], state)
    np.testing.assert_allclose(y, model(x)[:, -1], atol=1e-6)


def test_truncated_bptt_over_the_whole_equals_keras_moving_averages_too():
    x, y = normal(4, 6, 3).astype("float32"), normal(4, 6, 2, seed=1).astype("float32")
    results = []
    for wrap in (lambda m: m, lambda m: rnnzoo.TruncatedBPTT(m, k1=6)):
        keras.utils.set_random_seed(1)
        model = rnnzoo.stack([LRUBlock(4, seed=2)], features=3, outputs=2, pooling=None)
        trainer = wrap(model)
        trainer.compile(keras.optimizers.SGD(0.1), "mse")
        trainer.fit(x, y, batch_size=4, epochs=1, verbose=0)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


@pytest.mark.slow
def test_a_deep_model_learns_under_truncated_bptt():
    x, y = normal(4, 6, 3).astype("float32"), normal(4, 6, 2, seed=1).astype("float32")
    trainer = rnnzoo.TruncatedBPTT(deep(), k1=3)
    trainer.compile(keras.optimizers.Adam(0.01), "mse")
    losses = trainer.fit(x, y, batch_size=4, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]


def test_what_it_says_of_its_recurrence():
    layer = built()
    assert layer.contraction() == layer.cell.lru.contraction()
    assert np.abs(layer.eigenvalues()).max() <= layer.contraction() < 1
    assert layer.cell.encoder.kernel.shape == (3, 4)
    assert built(features=4).cell.encoder is None
    with pytest.raises(ValueError, match="`input_bound` must be a number in"):
        layer.contraction(input_bound=-1.0)


def test_in_mixed_precision_the_state_is_never_rounded_to_half():
    layer = LRUBlock(4, seed=1, dtype="mixed_bfloat16", **EVERYTHING)
    x = tf.cast(normal(2, 9, 4), "bfloat16")
    y, *state = layer(x)
    assert [y.dtype, *(s.dtype for s in state)] == [tf.bfloat16, tf.float32, tf.float32]
    again = layer(x, initial_state=[s + 2.0**-20 for s in state])[1:]
    moved = [a - b for a, b in zip(again, layer(x, initial_state=state)[1:])]
    assert all(np.abs(m).max() > 0 for m in moved)  # bfloat16 would not see the difference
