"""Masks: the forms in which Keras may hand one over, and what each layer makes of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import layers
from rnnzoo.layers import _masks

MASK = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]], bool)
X = np.random.default_rng(0).normal(size=[3, 4, 2]).astype("float32")
EVERY = {
    "HDetachLSTM": lambda: layers.HDetachLSTM(3, return_sequences=True),
    "StableRNN": lambda: layers.StableRNN(3, return_sequences=True),
    "LRU": lambda: layers.LRU(3, return_sequences=True),
    "LRUBlock": lambda: layers.LRUBlock(3, return_sequences=True),
    "LinearRNN": lambda: layers.LinearRNN(3, return_sequences=True),
    "TCN": lambda: layers.TCN(3, levels=1, kernel_size=2, return_sequences=True),
    "TruncatedWrapper": lambda: layers.TruncatedWrapper(
        keras.layers.GRU(3, return_sequences=True), k=2
    ),
    "TransformerEncoder": lambda: layers.TransformerEncoder(4, heads=2, return_sequences=True),
}


@pytest.mark.parametrize(
    "given",
    [
        MASK,
        [MASK, None],
        MASK.astype("float32"),
        np.repeat(MASK[..., None], 5, axis=-1),
    ],
    ids=["bool", "with states", "numbers", "features"],
)
def test_every_form_becomes_one(given):
    found = _masks.step_mask(given)
    assert found.dtype == tf.bool
    np.testing.assert_array_equal(found, MASK)


def test_no_mask_stays_none():
    assert _masks.step_mask(None) is None
    assert _masks.processed(X, None, go_backwards=True)[1] is None
    assert _masks.real_steps(X, None) is X


@pytest.mark.parametrize("kind", EVERY)
def test_a_mask_of_features_is_one_of_steps(kind):
    layer = EVERY[kind]()
    expected = layer(X, mask=tf.constant(MASK))
    found = layer(X, mask=tf.constant(np.repeat(MASK[..., None], 2, axis=-1)))
    np.testing.assert_array_equal(found, expected)
    assert np.abs(expected - layer(X)).max() > 0


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind != "TransformerEncoder"])
@pytest.mark.parametrize("mask", [np.ones([3, 5], bool), np.ones([2, 4], bool), np.ones(3, bool)])
def test_a_mask_that_does_not_fit_is_refused(kind, mask):
    words = rf"`mask` of .* \[batch, time\] of the sequences, \(3, 4\). .*shape=\({len(mask)},"
    with pytest.raises(ValueError, match=words):
        EVERY[kind]()(X, mask=mask)


def test_order_of_the_steps():
    sequences, mask = _masks.processed(tf.constant(X), tf.constant(MASK), go_backwards=True)
    np.testing.assert_array_equal(sequences, X[:, ::-1])
    np.testing.assert_array_equal(mask, MASK[:, ::-1])
    x = tf.constant(X)
    assert _masks.processed(x, None, go_backwards=False)[0] is x


def test_where_outputs_are_shown():
    mask = tf.constant(MASK)
    np.testing.assert_array_equal(_masks.shown(mask, zero_output_for_mask=True), MASK)
    np.testing.assert_array_equal(
        _masks.shown(mask, zero_output_for_mask=False), np.maximum.accumulate(MASK, axis=1)
    )


def test_masked_steps_hold_zeros_whatever_stood_there():
    x = np.where(MASK[..., None], X, np.nan)
    np.testing.assert_array_equal(
        _masks.real_steps(tf.constant(x), tf.constant(MASK)), np.where(MASK[..., None], X, 0.0)
    )
