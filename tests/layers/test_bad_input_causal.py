"""Wrong calls of the feed-forward layers: each is refused where it is made, by name."""

import numpy as np
import pytest
import tensorflow as tf

import rnnzoo
from rnnzoo import zoo
from rnnzoo.layers import TCN, GatedConv, TransformerEncoder, WaveNet

X = np.ones([2, 4, 3], "float32")


def small(**options):
    return TCN(2, levels=1, kernel_size=2, **options)


def stepped(**call):
    return small()(tf.constant(X), **call)


ROWS = [
    (lambda: TCN(0), ValueError, r"`units` .*Received: units=0"),
    (lambda: TCN(2.0), TypeError, r"`units` .*Received: units=2.0"),
    (lambda: TCN(2, levels=0), ValueError, r"`levels` .*Received: levels=0"),
    (lambda: TCN(2, levels="8"), TypeError, r"`levels` .*Received: levels='8'"),
    (lambda: TCN(2, kernel_size=1), ValueError, r"`kernel_size` .*at least 2.*kernel_size=1"),
    (lambda: TCN(2, dropout=1.0), ValueError, r"`dropout` .*\[0, 1\).*Received: dropout=1.0"),
    (lambda: TCN(2, dropout=-0.1), ValueError, r"`dropout` .*Received: dropout=-0.1"),
    (lambda: TCN(2, dropout=None), TypeError, r"`dropout` .*Received: dropout=None"),
    (lambda: TCN(2, weight_norm=1), TypeError, r"`weight_norm` .*Received: weight_norm=1"),
    (lambda: TCN(2, seed=-1), ValueError, r"`seed` .*Received: seed=-1"),
    (lambda: TCN(2, kernel_initializer="nonesuch"), ValueError, r"nonesuch"),
    (lambda: TCN(2, unroll=True), ValueError, r"`unroll` .*Received: unroll=True"),
    (lambda: TCN(2, return_sequences="no"), TypeError, r"`return_sequences` .*'no'"),
    (lambda: TCN(2, dilation=2), ValueError, r"dilation"),
    (lambda: GatedConv(-1), ValueError, r"`units` .*Received: units=-1"),
    (lambda: GatedConv(2, kernel_size=0), ValueError, r"`kernel_size` .*kernel_size=0"),
    (lambda: GatedConv(2, bottleneck=0), ValueError, r"`bottleneck` .*bottleneck=0"),
    (lambda: GatedConv(2, levels=2.5), TypeError, r"`levels` .*levels=2.5"),
    (lambda: WaveNet(2, repeats=0), ValueError, r"`repeats` .*repeats=0"),
    (lambda: WaveNet(2, skip_units="2"), TypeError, r"`skip_units` .*skip_units='2'"),
    (lambda: WaveNet(2, kernel_size=1), ValueError, r"`kernel_size` .*kernel_size=1"),
    (lambda: TransformerEncoder(6, heads=4), ValueError, r"`units` .*`heads`=4.*units=6"),
    (lambda: TransformerEncoder(4, max_length=0), ValueError, r"`max_length` .*max_length=0"),
    (lambda: TransformerEncoder(4, dropout=2), ValueError, r"`dropout` .*dropout=2"),
    (
        lambda: TransformerEncoder(4, max_length=3)(X),
        ValueError,
        r"`sequences` .*`max_length`=3 .*Received: sequences.shape=\(2, 4, 3\)",
    ),
    (lambda: TransformerEncoder(4)(X[0]), ValueError, r"`sequences` .*sequences.shape=\(4, 3\)"),
    (lambda: small()(X[0]), ValueError, r"`sequences` .*sequences.shape=\(4, 3\)"),
    (
        lambda: stepped(mask=tf.ones([2, 5], tf.bool)),
        ValueError,
        r"`mask` .*Received: mask.shape=\(2, 5\)",
    ),
    (
        lambda: stepped(initial_state=[tf.ones([2, 3])]),
        ValueError,
        r"`initial_state` .*\[\(2, 3\), \(2, 2\)\].*Received: \[\(2, 3\)\]",
    ),
    (
        lambda: stepped(initial_state=[tf.ones([2, 4]), tf.ones([2, 2])]),
        ValueError,
        r"`initial_state` .*Received: \[\(2, 4\), \(2, 2\)\]",
    ),
    (lambda: zoo.build("tcn", 2, width=3), ValueError, r"`width` must be an option of .*tcn"),
    (lambda: zoo.build("tcn", 2, kernel_size=1), ValueError, r"kernel_size=1"),
    (lambda: rnnzoo.layers.TCM, AttributeError, r"TCM"),
]


@pytest.mark.parametrize(("call", "error", "words"), ROWS)
def test_wrong_call(call, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        call()


def test_a_position_past_the_last_is_refused_at_run_time_too():
    layer = TransformerEncoder(4, max_length=3, return_sequences=True)
    run = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 3])])
    assert run(X[:, :3]).shape == (2, 3, 4)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"(?s)`sequences` of .* at most `max_length`=3 steps. Received: steps. .4.",
    ):
        run(X)
