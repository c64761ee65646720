"""AdaptiveSoftmax against a NumPy computation in float64: values, normalisation, gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers.adaptive_softmax import AdaptiveSoftmax

V, H, CUTOFFS = 12, 8, [4, 9]


@pytest.fixture(scope="module")
def layer():
    layer = AdaptiveSoftmax(V, CUTOFFS, divisor=2)
    layer.build([(None, None, H), (None, None)])
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def expected(layer, hidden):
    """ln p over the vocabulary, word by word."""
    w = {v.name: v.numpy().astype(np.float64) for v in layer.weights}
    head = log_softmax(hidden @ w["head_kernel"] + w["head_bias"])
    log_p = np.empty((*hidden.shape[:-1], V))
    for word in range(V):
        if word < 4:
            log_p[..., word] = head[..., word]
            continue
        cluster, begin = (1, 4) if word < 9 else (2, 9)
        reduced = hidden @ w[f"projection_{cluster}"]
        tail = log_softmax(reduced @ w[f"tail_{cluster}_kernel"] + w[f"tail_{cluster}_bias"])
        log_p[..., word] = head[..., 3 + cluster] + tail[..., word - begin]
    return log_p


def data(seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 5, H)).astype("float32"), rng.integers(0, V, (3, 5))


def test_equals_numpy_and_adds_up_to_one(layer):
    hidden, targets = data()
    reference = expected(layer, hidden.astype(np.float64))
    np.testing.assert_allclose(np.exp(reference).sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(layer(hidden), reference, rtol=2e-5, atol=2e-5)
    wanted = np.take_along_axis(reference, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(layer([hidden, targets]), wanted, rtol=2e-5, atol=2e-5)
    compiled = tf.function(lambda h, t: layer([h, t]))
    np.testing.assert_allclose(compiled(hidden, targets), wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("word", [0, 3, 4, 8, 9, 11])
def test_borders_and_empty_clusters(layer, word):
    hidden, _ = data(word)
    given = layer([hidden, np.full((3, 5), word)])
    wanted = expected(layer, hidden.astype(np.float64))[..., word]
    np.testing.assert_allclose(given, wanted, rtol=2e-5, atol=2e-5)


def test_gradients_of_the_short_way_are_those_of_the_whole(layer):
    hidden, targets = data(3)
    hidden = tf.constant(hidden)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(hidden)
        short = tf.reduce_sum(layer([hidden, targets]))
        whole = tf.reduce_sum(tf.gather(layer(hidden), targets, batch_dims=2))
    sources = [hidden, *layer.trainable_weights]
    for one, other in zip(tape.gradient(short, sources), tape.gradient(whole, sources)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_shapes_weights_and_config(layer):
    # 8 x (4 + 2) + 6, then 8 x 4 + 4 x 5 + 5, and 8 x 2 + 2 x 3 + 3.
    assert layer.count_params() == 54 + 57 + 25
    assert AdaptiveSoftmax(V, [4]).compute_output_shape((2, 3, H)) == (2, 3, V)
    again = AdaptiveSoftmax.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.cutoffs == CUTOFFS
    half = AdaptiveSoftmax(V, CUTOFFS, dtype="mixed_bfloat16")
    hidden, targets = data()
    assert half([tf.cast(hidden, tf.bfloat16), targets]).dtype == tf.float32


def test_each_matrix_is_drawn_for_itself():
    layer = AdaptiveSoftmax(300, [100, 200], divisor=1)
    layer.build((None, None, 50))
    first, second = (v.numpy() for v in layer.weights if v.name.startswith("projection"))
    assert first.shape == second.shape
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"cutoffs": []}, ValueError, r"`cutoffs` must rise .*Received: cutoffs=\[\]"),
        ({"cutoffs": [5, 5]}, ValueError, r"`cutoffs` must rise .*cutoffs=\[5, 5\]"),
        ({"cutoffs": [V]}, ValueError, r"between 0 and `vocabulary_size`=12.*cutoffs=\[12\]"),
        ({"cutoffs": [0, 5]}, ValueError, r"`cutoffs` must be an integer of at least 1"),
        ({"cutoffs": [2.5]}, TypeError, r"`cutoffs` must be an integer. Received: cutoffs=2.5"),
        ({"cutoffs": [4], "divisor": 0}, ValueError, r"`divisor` .*divisor=0"),
        ({"cutoffs": [4], "vocabulary_size": 1}, ValueError, r"`vocabulary_size` .*=1"),
    ],
)
def test_bad_arguments_are_told(arguments, error, words):
    with pytest.raises(error, match=words):
        AdaptiveSoftmax(**{"vocabulary_size": V, **arguments})


def test_saved_in_a_model(layer, tmp_path):
    hidden, targets = keras.Input((None, H)), keras.Input((None,), dtype="int32")
    inner = AdaptiveSoftmax(V, CUTOFFS, divisor=2)
    model = keras.Model([hidden, targets], inner([hidden, targets]))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x, y = data()
    np.testing.assert_array_equal(again([x, y]), model([x, y]))
