"""RunningMean against NumPy, in pieces, with masks, and what others make of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo
from rnnzoo import graphs
from rnnzoo.layers import RunningMean, StableRNN
from tests.references.lru_layers import MASK, normal

U = 3


def reference(x, mask, total=0.0, count=0.0):
    """The mean after each step (0 before the first), the sum and the count, step by step."""
    total, count = np.zeros(x[:, 0].shape) + total, np.zeros([len(x), 1]) + count
    means = np.zeros(x.shape)
    for t in range(x.shape[1]):
        total = total + np.where(mask[:, t, None], x[:, t], 0)
        count = count + mask[:, t, None]
        means[:, t] = total / np.maximum(count, 1)
    return means, total, count


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
def test_values_are_numpys(mask, backwards):
    x = normal(3, 6, U)
    real = np.ones([3, 6], bool) if mask is None else mask
    turn = slice(None, None, -1) if backwards else slice(None)
    means, total, count = reference(x[:, turn], real[:, turn])
    options = {"dtype": "float64", "return_state": True, "go_backwards": backwards}
    for every in (False, True):
        layer = RunningMean(U, return_sequences=every, **options)
        for call in (layer, tf.function(layer, autograph=False)):
            y, *states = call(x, mask=mask)
            np.testing.assert_allclose(y, means if every else means[:, -1], atol=1e-14)
            np.testing.assert_allclose(states[0], total, atol=1e-14)
            np.testing.assert_array_equal(states[1], count)


@pytest.mark.parametrize(
    "options", [{}, {"return_sequences": True}, {"zero_output_for_mask": True}]
)
@pytest.mark.parametrize("mask", [None, MASK])
def test_equals_keras_over_the_same_cell(options, mask):
    layer = RunningMean(U, dtype="float64", return_state=True, **options)
    theirs = keras.layers.RNN(layer.cell, dtype="float64", return_state=True, **options)
    x, state = normal(3, 6, U), [normal(3, U, seed=1), np.full([3, 1], 4.0)]
    got = layer(x, mask=mask, initial_state=state)
    for g, w in zip(got, theirs(x, mask=mask, initial_state=state), strict=True):
        np.testing.assert_allclose(g, w, atol=1e-14)


def test_the_mean_of_a_sequence_is_that_of_kerass_pooling_with_its_gradient():
    x = tf.constant(normal(3, 6, U))
    mask = MASK[:2]  # their mean of no step is not a number
    found = []
    for layer in (RunningMean(U, dtype="float64"), keras.layers.GlobalAveragePooling1D()):
        for given, m in ((x, None), (x[:2], mask)):
            with tf.GradientTape() as tape:
                tape.watch(given)
                y = layer(tf.cast(given, layer.compute_dtype), mask=m)
                loss = tf.reduce_sum(tf.sin(y))
            found.append([y, tape.gradient(loss, given)])
    for got, want in zip(found[:2], found[2:]):
        for g, w in zip(got, want):
            np.testing.assert_allclose(g, w, atol=1e-6)


@pytest.mark.parametrize("every", [False, True])
def test_a_row_without_any_real_step_gives_zeros_and_zero_gradients(every):
    x = normal(3, 6, U).astype("float32")
    x = tf.constant(np.where(MASK[..., None], x, np.nan))
    layer = RunningMean(U, return_sequences=every)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, mask=MASK)
        loss = tf.reduce_sum(y**2 + y)
    gradient = tape.gradient(loss, x).numpy()
    assert not MASK[2].any()
    np.testing.assert_array_equal(y[2], np.zeros(y[2].shape))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~MASK], 0 * gradient[~MASK])
    assert np.abs(gradient[MASK]).min() > 0


def test_no_step_at_all_gives_zeros():
    for every in (False, True):
        layer = RunningMean(U, return_sequences=every, return_state=True)
        state = [np.ones([2, U], "float32"), np.ones([2, 1], "float32")]
        y, *states = layer(np.zeros([2, 0, U], "float32"), initial_state=state)
        np.testing.assert_array_equal(y, np.zeros([2, 0, U] if every else [2, U]))
        np.testing.assert_array_equal(states[0], state[0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_in_mixed_precision_it_counts_beyond_what_half_can(policy):
    layer = RunningMean(U, dtype=policy, return_state=True, stateful=True)
    layer.build([2, None, U])
    x = tf.ones([2, 3000, U], layer.compute_dtype)
    for _ in range(2):
        y, total, count = layer(x)
        assert [y.dtype, total.dtype, count.dtype] == [layer.compute_dtype, "float32", "float32"]
    np.testing.assert_array_equal(count, np.full([2, 1], 6000.0))
    np.testing.assert_array_equal(total, np.full([2, U], 6000.0))
    np.testing.assert_array_equal(tf.cast(y, "float32"), np.ones([2, U]))


def test_it_streams_in_mixed_precision_as_it_counts():
    inputs = keras.Input([None, U])
    model = keras.Model(inputs, RunningMean(U, name="mean", dtype="mixed_bfloat16")(inputs))
    stream = rnnzoo.explicit_state(model)
    assert stream.state_spec["mean_sum"] == ((U,), "float32")
    assert stream.state_spec["mean_count"] == ((1,), "float32")
    state = stream.initial_state(2)
    _, state = stream(np.ones([2, 1000, U], "float32"), state)
    y, state = stream.step(np.ones([2, U], "float32"), state)
    np.testing.assert_array_equal(state["mean_count"], [[1001.0]] * 2)
    assert y.dtype == "bfloat16"


def test_the_mean_over_a_sequence_is_one_reduction():
    def operations(every):
        layer = RunningMean(U, return_sequences=every)
        spec = [tf.TensorSpec([None, None, U])]
        graph = tf.function(layer, input_signature=spec, autograph=False).get_concrete_function()
        return {op.type for op in graph.graph.get_operations()}

    assert "Cumsum" in operations(True)
    assert not {"Cumsum", "While", "StatelessWhile"} & operations(False)
    assert not {"While", "StatelessWhile"} & operations(True)


def pooled(pooling):
    inputs = keras.Input([None, 2], dtype="float64")
    rnn = StableRNN(U, contraction=0.6, return_sequences=True, dtype="float64")
    return keras.Model(inputs, pooling(rnn(inputs)))


def test_a_certificate_takes_it_for_a_pooling_over_time():
    mean = pooled(RunningMean(U, dtype="float64"))
    theirs = pooled(keras.layers.GlobalAveragePooling1D(dtype="float64"))
    theirs.set_weights(mean.get_weights())
    found = [rnnzoo.certify(m, epsilon=0.01, input_bound=1.0) for m in (mean, theirs)]
    assert found[0].k == found[1].k
    assert found[0].bound(5) == found[1].bound(5)
    window = rnnzoo.truncate(mean, epsilon=0.01, input_bound=1.0)
    x = np.random.default_rng(0).uniform(-1, 1, [4, 40, 2])
    measured = np.abs(window(x) - mean(x)).max()
    assert 0 < measured <= 0.01
    assert isinstance(window.layers[-1], RunningMean)  # no window on the mean itself
    assert [node.operation.name for node in graphs.recurrent_calls(mean)] == [mean.layers[1].name]


def test_a_certificate_refuses_its_states():
    inputs = keras.Input([None, 2], dtype="float64")
    hidden = StableRNN(U, contraction=0.6, return_sequences=True, dtype="float64")(inputs)
    mean, *_ = RunningMean(U, return_state=True, dtype="float64")(hidden)
    certificate = rnnzoo.certify(keras.Model(inputs, mean))
    assert "it takes a state or hands one out" in certificate.problem


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RunningMean(0), ValueError, "`units` must be an integer of at least 1.*units=0"),
        (lambda: RunningMean(2.0), TypeError, "`units` must be an integer"),
        (lambda: RunningMean(2, unroll=True), ValueError, "`unroll` must be False"),
        (
            lambda: RunningMean(2).build([None, None, 3]),
            ValueError,
            r"`units` of a RunningMean .*units=2, inputs of shape \(None, 3\)",
        ),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
