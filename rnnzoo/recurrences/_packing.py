"""Masked steps out of the way: the real steps of each row moved to its front, and spread back.

What runs over packed steps needs no mask: the real steps of a row lie side by side, zeros behind
them, and `count` says where they end.
"""

from typing import NamedTuple

import tensorflow as tf

from rnnzoo.recurrences._loops import static_or_dynamic


class Packing(NamedTuple):
    """Where the steps of each row go, and where their outputs come from.

    `mask [B, T]` says which steps are real. `order [B, T]` is the step that stands at each place:
    the real steps first. `source [B, T]` is the place of the newest real step at each step, -1
    before the first one. `count [B]` is the number of real steps.
    """

    mask: tf.Tensor
    order: tf.Tensor
    source: tf.Tensor
    count: tf.Tensor


def packing(mask):
    """The `Packing` of `mask [B, T]`, bool."""
    real = tf.cast(mask, tf.int32)
    return Packing(mask, first(mask), _source(real), tf.reduce_sum(real, axis=1))


def first(mask):
    """The steps of each row, those where `mask [B, T]` is True before the others, else in order."""
    time = static_or_dynamic(mask, 1)
    step = tf.range(time)
    # Every key is different, so that the order does not rest on the sort being stable.
    return tf.argsort(tf.where(mask, step, step + time), axis=1)


def pack(x, packed):
    """`x [B, T, F]` by the `Packing`: the real steps at the front, zeros behind them."""
    # Zeros, not what stands at masked steps: a NaN there must not reach a weight's gradient.
    real = tf.where(packed.mask[..., None], x, tf.zeros_like(x))
    return _of_shape(tf.gather(real, packed.order, batch_dims=1), x)


def unpack(outputs, packed, before=None):
    """Every step gets the output of the newest real step, out of packed `outputs [B, T, U]`.

    `before` is what the steps before the first real one get; without it they get anything, for
    callers that hide them.
    """
    spread = tf.gather(outputs, tf.maximum(packed.source, 0), batch_dims=1)
    if before is not None:
        spread = tf.where(packed.source[..., None] >= 0, spread, before)
    return _of_shape(spread, outputs)


def repeated(outputs, mask):
    """`outputs [B, T, U]` in which a masked step shows the last real one's, zeros before any."""
    if mask is None:
        return outputs
    source = _source(tf.cast(mask, tf.int32))
    newest = tf.gather(first(mask), tf.maximum(source, 0), batch_dims=1)
    spread = tf.gather(outputs, newest, batch_dims=1)
    spread = tf.where(source[..., None] >= 0, spread, tf.zeros_like(spread))
    return _of_shape(spread, outputs)


def newest(x, mask):
    """What stands at the last real step of each row of `x [B, T, F]`: `[B, F]`, or zeros."""
    if mask is None:
        return tf.reduce_sum(x[:, -1:], axis=1)
    later = tf.cumsum(tf.cast(mask, tf.int32), axis=1, exclusive=True, reverse=True)
    here = (mask & (later == 0))[..., None]
    return tf.reduce_sum(tf.where(here, x, tf.zeros_like(x)), axis=1)


def _source(real):
    return tf.cumsum(real, axis=1) - 1


def _of_shape(value, reference):
    value.set_shape(reference.shape)
    return value
