"""Deep stacks: what they compute, with masks, in pieces, and wrong use."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erf

import rnnzoo
from rnnzoo.layers import LRUBlock, TruncatedWrapper

X = np.random.default_rng(0).normal(size=(3, 5, 3)).astype("float32")


def blocks(**options):
    return [LRUBlock(4, seed=i, **options) for i in range(2)]


@pytest.mark.parametrize("pooling", ["mean", "last", None])
def test_a_stack_is_its_layers_one_after_another(pooling):
    layers = blocks()
    model = rnnzoo.stack(layers, 3, 2, pooling=pooling, entry=keras.layers.Dense(4))
    hidden = model.layers[1](X)
    hidden = layers[0](hidden)
    assert layers[0].cell.encoder is None  # the entry has made it as wide as the blocks
    kernel, bias = (w.numpy() for w in model.layers[-1].weights)
    if pooling == "last":
        pooled = layers[1](hidden)
    else:
        every = layers[1](hidden).numpy()
        pooled = every.mean(1) if pooling else every
    np.testing.assert_allclose(model(X), pooled @ kernel + bias, atol=1e-5)
    assert np.abs(kernel).max() <= 0.5  # 1 / sqrt(4)
    assert model.output_shape == ((None, None, 2) if pooling is None else (None, 2))


def test_the_mean_leaves_masked_steps_out():
    padded = X.copy()
    padded[:, 3:] = 0.0
    model = rnnzoo.stack(blocks(), 3, 2, entry=keras.layers.Masking())
    np.testing.assert_allclose(model(padded), model(X[:, :3]), atol=1e-5)
    assert np.abs(np.subtract(model(X), model(padded))).max() > 1e-3


@pytest.mark.slow
def test_a_model_with_mean_pooling_learns_saves_and_loads(tmp_path):
    model = rnnzoo.stack(blocks(dropout=0.1)[:1], 3, 1)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    y = X.mean((1, 2))[:, None]
    losses = model.fit(X, y, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X), model(X), atol=1e-6)


MASK = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)


@pytest.mark.parametrize("mlp", [None, 6])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_pooled_model_streams_in_chunks_and_steps(pooling, mlp):
    model = rnnzoo.stack(blocks(dropout=0.1), 3, 2, pooling=pooling, mlp=mlp, mlp_dropout=0.0)
    stream = rnnzoo.explicit_state(model)
    assert ("mean_count" in stream.state_names) == (pooling == "mean")
    for mask in (None, MASK):
        first, rest = (None, None) if mask is None else (mask[:, :2], mask[:, 2:])
        whole, _ = stream(X, stream.initial_state(3), mask=mask)
        _, state = stream(X[:, :2], stream.initial_state(3), mask=first)
        y, _ = stream(X[:, 2:], state, mask=rest)
        np.testing.assert_allclose(y, whole, atol=1e-6)
        state = stream.initial_state(3)
        for t in range(5):
            now = None if mask is None else mask[:, t]
            y, state = stream.step(X[:, t], state, mask=now)
        np.testing.assert_allclose(y, whole, atol=1e-6)
        if mask is None:
            np.testing.assert_allclose(whole, model(X), atol=1e-6)
            continue
        for row in range(2):  # as if the masked steps were not there
            alone = model(X[row : row + 1, mask[row]])
            np.testing.assert_allclose(whole[row : row + 1], alone, atol=1e-6)


def test_the_mean_of_a_row_without_any_real_step_is_zero():
    model = rnnzoo.stack(blocks(), 3, 2, entry=keras.layers.Masking())
    padded = X.copy()
    padded[1] = 0.0
    weights = model.trainable_weights
    with tf.GradientTape() as tape:
        y = model(padded)
        loss = tf.reduce_sum(y**2)
    np.testing.assert_allclose(y[1], model.get_layer("outputs").bias, atol=1e-7)
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, weights))


def test_a_model_saved_with_kerass_pooling_opens_and_is_refused_as_a_stream(tmp_path):
    inputs = keras.Input((None, 3), name="sequence")
    hidden = LRUBlock(4, seed=1, return_sequences=True)(inputs)
    pooled = keras.layers.GlobalAveragePooling1D(name="mean")(hidden)
    older = keras.Model(inputs, keras.layers.Dense(2, name="outputs")(pooled), name="stack")
    older.save(tmp_path / "older.keras")
    loaded = keras.models.load_model(tmp_path / "older.keras")
    np.testing.assert_allclose(loaded(X), older(X), atol=1e-6)
    today = rnnzoo.stack(LRUBlock(4, seed=1), 3, 2)
    today.set_weights(loaded.get_weights())
    np.testing.assert_allclose(today(X), older(X), atol=1e-6)
    with pytest.raises(ValueError, match="GlobalAveragePooling1D"):
        rnnzoo.explicit_state(loaded)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_an_mlp_stands_between_the_pooling_and_the_head(pooling):
    keras.utils.set_random_seed(3)
    model = rnnzoo.stack(blocks(), 3, 2, pooling=pooling, mlp=6, mlp_dropout=0.5)
    norm, dense, drop, head = model.layers[-4:]
    assert [layer.name for layer in (norm, dense, drop, head)] == [
        "mlp_norm",
        "mlp",
        "mlp_dropout",
        "outputs",
    ]
    below = keras.Model(model.input, norm.input)
    mean, variance = np.full(4, 0.3), np.full(4, 2.0)
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(variance)
    z = (below(X).numpy() - mean) / np.sqrt(variance + 1e-3)
    z = z @ dense.kernel.numpy() + dense.bias.numpy()
    z = z * 0.5 * (1 + erf(z / np.sqrt(2)))
    np.testing.assert_allclose(model(X), z @ head.kernel.numpy() + head.bias.numpy(), atol=1e-5)
    assert np.abs(head.kernel.numpy()).max() <= 6**-0.5
    dropped = drop(np.ones([100, 6], "float32"), training=True).numpy() == 0
    assert abs(dropped.mean() - 0.5) < 0.1  # 600 draws


def test_windows_of_blocks_stack_too():
    layers = [TruncatedWrapper(block, k=2) for block in blocks()]
    model = rnnzoo.stack(layers, 3, 1, pooling="last")
    near, far = X.copy(), X.copy()
    near[:, 2], far[:, 1] = 5.0, 5.0  # two windows of 2 reach three steps back
    assert np.abs(np.subtract(model(near), model(X))).max() > 1e-4
    np.testing.assert_array_equal(model(far), model(X))


@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "mlp"), [(None, None), ("mean", 6)])
def test_a_stack_exports_its_step(tmp_path, pooling, mlp):
    model = rnnzoo.stack(blocks(dropout=0.1), 3, 2, pooling=pooling, mlp=mlp)
    folder = rnnzoo.export.export_model(model, tmp_path)
    step = tf.saved_model.load(folder).signatures["step"]
    specs = {n: s for n, s in step.structured_input_signature[1].items() if n != "x"}
    state = {name: tf.zeros([3, spec.shape[1]]) for name, spec in specs.items()}
    for t in range(5):
        y = step(x=tf.constant(X[:, t]), **state)
        state = {name: y[f"next_{name}"] for name in state}
    wanted = model(X) if pooling else model(X)[:, -1]
    np.testing.assert_allclose(y["outputs"], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: rnnzoo.stack([], 3, 2), ValueError, r"`layer` .*layer=\[\]"),
        (lambda: rnnzoo.stack([keras.layers.Dense(2)], 3, 2), TypeError, r"`layer` .*Dense"),
        (lambda: rnnzoo.stack(blocks(), 0, 2), ValueError, r"`features` .*features=0"),
        (lambda: rnnzoo.stack(blocks(), 3, 2.0), TypeError, r"`outputs` .*outputs=2.0"),
        (lambda: rnnzoo.stack(blocks(), 3, 2, "max"), ValueError, r"`pooling` .*pooling='max'"),
        (lambda: rnnzoo.stack(blocks(), 3, 2, entry=4), TypeError, r"`entry` .*entry=4"),
        (lambda: rnnzoo.stack(blocks(), 3, 2, mlp=0), ValueError, r"`mlp` .*mlp=0"),
        (
            lambda: rnnzoo.stack(blocks(), 3, 2, None, mlp=4),
            ValueError,
            r"`mlp` must be None where `pooling` is None.*mlp=4",
        ),
        (
            lambda: rnnzoo.stack(blocks(), 3, 2, mlp=4, mlp_dropout=1.0),
            ValueError,
            r"`mlp_dropout` .*mlp_dropout=1.0",
        ),
        (
            lambda: rnnzoo.stack(blocks(), 3, 2, mlp_dropout=0.5),
            ValueError,
            r"`mlp_dropout` must be 0 where `mlp` is None.*mlp_dropout=0.5",
        ),
    ],
)
def test_wrong_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()
