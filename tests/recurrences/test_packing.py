"""Packing of masked steps, against a loop over rows in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnzoo.recurrences import _packing

MASK = np.array([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 1, 0]], bool)
X = np.random.default_rng(0).normal(size=[*MASK.shape, 2])


def packed_by_hand(x, mask):
    rows = [np.concatenate([row[real], np.zeros_like(row[~real])]) for row, real in zip(x, mask)]
    return np.stack(rows)


def spread_by_hand(packed, mask, before):
    """Each step gets the newest real step's row of `packed`, or that of `before [B, F]`."""
    spread = np.empty_like(packed)
    for row, real in enumerate(mask):
        newest = -1
        for t, is_real in enumerate(real):
            newest += is_real
            spread[row, t] = packed[row, newest] if newest >= 0 else before[row]
    return spread


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(0, 4), steps=st.integers(0, 7), seed=st.integers(0, 1000))
def test_packing_and_spreading_equal_numpy(rows, steps, seed):
    rng = np.random.default_rng(seed)
    mask, x = rng.random((rows, steps)) > rng.random(), rng.normal(size=(rows, steps, 2))
    packing = _packing.packing(tf.constant(mask, tf.bool))
    packed, before = _packing.pack(tf.constant(x), packing), rng.normal(size=(rows, 2))
    np.testing.assert_array_equal(packing.count, mask.sum(1))
    np.testing.assert_array_equal(packing.source, np.cumsum(mask, 1) - 1)
    if x.size:
        np.testing.assert_array_equal(packed, packed_by_hand(x, mask))
    else:
        assert packed.shape == x.shape
    spread = _packing.unpack(packed, packing, before=before[:, None])
    np.testing.assert_array_equal(spread, spread_by_hand(packed.numpy(), mask, before))
    np.testing.assert_array_equal(
        _packing.repeated(tf.constant(x), tf.constant(mask, tf.bool)),
        spread_by_hand(packed.numpy(), mask, np.zeros((rows, 2))),
    )


def test_without_a_beginning_the_steps_from_the_first_real_one_on_are_the_same():
    packing = _packing.packing(tf.constant(MASK))
    packed = _packing.pack(tf.constant(X), packing)
    seen = np.cumsum(MASK, 1) > 0
    spread = _packing.unpack(packed, packing).numpy()
    np.testing.assert_array_equal(
        spread[seen], spread_by_hand(packed.numpy(), MASK, np.zeros([4, 2]))[seen]
    )


def test_no_mask_changes_nothing():
    x = tf.constant(X)
    assert _packing.repeated(x, None) is x


def test_the_order_does_not_rest_on_a_stable_sort(monkeypatch):
    """A sort that turns equal keys round finds none to turn."""
    seen = []

    def unstable(keys, axis):
        keys = keys.numpy()
        seen.append(keys)
        turned = np.argsort(keys[:, ::-1], axis=axis, kind="stable")
        return tf.constant(keys.shape[1] - 1 - turned, tf.int32)

    expected = _packing.packing(tf.constant(MASK)).order
    monkeypatch.setattr(tf, "argsort", unstable)
    np.testing.assert_array_equal(_packing.packing(tf.constant(MASK)).order, expected)
    (keys,) = seen
    assert all(len(set(row)) == len(row) for row in keys.tolist())


def test_the_others_can_come_first():
    order = _packing.first(tf.constant(~MASK)).numpy()
    assert order[0].tolist() == [0, 3, 1, 2, 4]
    assert order[2].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_reach_real_steps_alone_and_no_nan_of_others(compiled):
    x = tf.constant(np.where(MASK[..., None], X, np.nan))

    @tf.function(jit_compile=compiled, autograph=False)
    def gradient(x, mask):
        packing = _packing.packing(mask)
        with tf.GradientTape() as tape:
            tape.watch(x)
            spread = _packing.unpack(_packing.pack(x, packing), packing)
            loss = tf.reduce_sum(tf.where(mask[..., None], spread, 0.0) ** 2)
        return tape.gradient(loss, x)

    found = gradient(x, tf.constant(MASK))
    np.testing.assert_allclose(found, np.where(MASK[..., None], 2.0 * X, 0.0), atol=1e-12)


@pytest.mark.parametrize("shape", [[4, 5], [None, 5], [4, None], [None, None]])
def test_shapes_are_as_known_as_those_given(shape):
    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([*shape, 2], tf.float64), tf.TensorSpec(shape, tf.bool)],
    )
    def run(x, mask):
        packing = _packing.packing(mask)
        packed = _packing.pack(x, packing)
        for value in (packed, _packing.unpack(packed, packing), _packing.repeated(x, mask)):
            assert value.shape.as_list() == [*shape, 2]
        return packed

    np.testing.assert_array_equal(run(X, MASK), packed_by_hand(X, MASK))
