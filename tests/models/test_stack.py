"""Deep stacks: what they compute, with masks, in pieces, and wrong use."""

import keras
import numpy as np
import pytest
import tensorflow as tf

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
    with pytest.raises(ValueError, match="GlobalAveragePooling1D"):
        rnnzoo.explicit_state(model)


def test_windows_of_blocks_stack_too():
    layers = [TruncatedWrapper(block, k=2) for block in blocks()]
    model = rnnzoo.stack(layers, 3, 1, pooling="last")
    near, far = X.copy(), X.copy()
    near[:, 2], far[:, 1] = 5.0, 5.0  # two windows of 2 reach three steps back
    assert np.abs(np.subtract(model(near), model(X))).max() > 1e-4
    np.testing.assert_array_equal(model(far), model(X))


@pytest.mark.slow
def test_a_stack_with_a_head_on_each_step_exports_its_step(tmp_path):
    model = rnnzoo.stack(blocks(dropout=0.1), 3, 2, pooling=None)
    folder = rnnzoo.export.export_model(model, tmp_path)
    step = tf.saved_model.load(folder).signatures["step"]
    state = {n: tf.zeros([3, 4]) for n in step.structured_input_signature[1] if n != "x"}
    for t in range(5):
        y = step(x=tf.constant(X[:, t]), **state)
        state = {name: y[f"next_{name}"] for name in state}
    np.testing.assert_allclose(y["outputs"], model(X)[:, -1], atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: rnnzoo.stack([], 3, 2), ValueError, r"`layer` .*layer=\[\]"),
        (lambda: rnnzoo.stack([keras.layers.Dense(2)], 3, 2), TypeError, r"`layer` .*Dense"),
        (lambda: rnnzoo.stack(blocks(), 0, 2), ValueError, r"`features` .*features=0"),
        (lambda: rnnzoo.stack(blocks(), 3, 2.0), TypeError, r"`outputs` .*outputs=2.0"),
        (lambda: rnnzoo.stack(blocks(), 3, 2, "max"), ValueError, r"`pooling` .*pooling='max'"),
        (lambda: rnnzoo.stack(blocks(), 3, 2, entry=4), TypeError, r"`entry` .*entry=4"),
    ],
)
def test_wrong_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()
