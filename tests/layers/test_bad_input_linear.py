"""Wrong calls of LinearRNN, ComplexRNN and LRUBlock: each is refused where it is made, by name."""

import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers import ComplexRNN, LinearRNN, LRUBlock

X = tf.ones([2, 4, 3])

ROWS = [
    (lambda: LinearRNN(0), ValueError, r"`units` .*Received: units=0"),
    (lambda: LinearRNN(4, heads=0), ValueError, r"`heads` .*at least 1.*heads=0"),
    (lambda: LinearRNN(4, heads=3), ValueError, r"`heads` must divide .*, 4. Received: heads=3"),
    (lambda: LinearRNN(4, heads=2.0), TypeError, r"`heads` .*heads=2.0"),
    (lambda: LinearRNN(4, state_size=0), ValueError, r"`state_size` .*state_size=0"),
    (lambda: LinearRNN(4, recurrent_initializer="nonesuch"), ValueError, r"nonesuch"),
    (lambda: LinearRNN(4, seed=-1), ValueError, r"`seed` .*seed=-1"),
    (lambda: LinearRNN(4, form="fast"), ValueError, r"`form` .*form='fast'"),
    (lambda: LinearRNN(4, shards=0), ValueError, r"`shards` .*shards=0"),
    (lambda: LinearRNN(4, unroll=True), ValueError, r"`unroll` .*unroll=True"),
    (lambda: LinearRNN(4, activation="tanh"), ValueError, r"activation"),
    (lambda: LinearRNN(4).build((None, None, None)), ValueError, r"LinearRNN must be known"),
    (lambda: LinearRNN(4)(X[0]), ValueError, r"`sequences` .*shape=\(4, 3\)"),
    (
        lambda: LinearRNN(4, state_size=6)(X, initial_state=[tf.ones([2, 4])]),
        ValueError,
        r"`initial_state` .*\[\(2, 6\)\]. Received: \[\(2, 4\)\]",
    ),
    (
        lambda: LinearRNN(4)(X, mask=np.ones([2, 5], bool)),
        ValueError,
        r"`mask` .*Received: mask.shape=\(2, 5\)",
    ),
    (lambda: ComplexRNN(4, r_min=1.0), ValueError, r"`r_min` .*r_min=1.0"),
    (lambda: ComplexRNN(4, normalization=None), TypeError, r"normalization"),
    (lambda: LRUBlock(4, norm="group"), ValueError, r"`norm` must be one of 'batch'.*'group'"),
    (lambda: LRUBlock(4, norm_first=1), TypeError, r"`norm_first` .*norm_first=1"),
    (lambda: LRUBlock(4, dropout=1.0), ValueError, r"`dropout` .*\[0, 1\).*dropout=1.0"),
    (lambda: LRUBlock(4, dropout="no"), TypeError, r"`dropout` .*'no'"),
    (lambda: LRUBlock(4, normalization="batch"), ValueError, r"`normalization` .*'batch'"),
    (lambda: LRUBlock(4, form="xla"), ValueError, r"`form` .*form='xla'"),
    (lambda: LRUBlock(4, state_size=2.0), TypeError, r"`state_size` .*state_size=2.0"),
    (lambda: LRUBlock(4).build((None, None, None)), ValueError, r"LRUBlock must be known"),
]


@pytest.mark.parametrize(("call", "error", "words"), ROWS)
def test_wrong_call(call, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        call()
