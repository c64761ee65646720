"""Tasks whose sequences differ in length: batches of similar length, padded at their end."""

import numpy as np
import tensorflow as tf

from rnnzoo.tasks._task import Task

NOISE = 0.1


class BucketedTask(Task):
    """A task over sequences of many lengths.

    A batch is as long as its longest sequence. So that little of it is padding, the order of an
    epoch sorts the sequences by a blurred length and shuffles the batches that are cut from it,

        order = argsort(length * exp(u)),   u uniform in [-0.1, 0.1); seed, epoch

    so that a sequence meets others of similar length, other ones in each epoch, and every sequence
    is handed out once. All splits are stored by length, the shortest first, which is the order of
    validation and test.

    A subclass defines `_sequences` and `_decode_padded` in place of `_load` and `_decode`.
    """

    def lengths(self, split):
        """The steps of each sequence of a split, in its stored order, as a NumPy array."""
        return self._parts(split)[1].numpy()

    def subset(self, split, limit):
        """`limit` sequences of a split, spread evenly over all its lengths, as batches."""
        self._check_limit(split, limit)
        rows = np.linspace(0, self.size(split) - 1, limit).round().astype(np.int64)
        parts, batches = self._parts(split), -(-limit // self.batch_size)

        def take(batch):
            begin = batch * self.batch_size
            return self._take(parts, tf.constant(rows)[begin : begin + self.batch_size])

        return self._finish(tf.data.Dataset.range(batches).map(take), batches)

    def _first(self, parts, size):
        """Spread over all lengths, as in `subset`."""
        per_row, flat = parts[: len(parts) - self._flat], parts[len(parts) - self._flat :]
        rows = np.linspace(0, len(parts[0]) - 1, size).round().astype(np.int64)
        return (*(tf.gather(part, rows) for part in per_row), *flat)

    def _sequences(self, split):
        """`(flat, lengths, rows)`: a tuple of arrays with one row a step, all sequences one after
        another; the lengths; and a tuple of arrays with one row a sequence."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `_sequences`.")

    def _decode_padded(self, real, *parts):
        """`(x, y)` from `real [B, T]` (False in the padding), then the flat arrays as `[B, T, ...]`
        (whatever stands in the padding is to be replaced), then the arrays of rows."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `_decode_padded`.")

    def _load(self, split):
        flat, lengths, rows = self._sequences(split)
        lengths = np.asarray(lengths, np.int32)
        starts = np.cumsum(lengths) - lengths
        order = np.argsort(lengths, kind="stable")
        self._flat = len(flat)
        return (starts[order], lengths[order], *(r[order] for r in rows), *flat)

    def _plan(self, parts, seed, epoch):
        lengths = tf.cast(parts[1], tf.float32)
        size, batches = self.size("train"), self._batches("train")
        seeds = tf.stack([tf.constant(seed), epoch])
        blur = tf.random.stateless_uniform([size], seeds, -NOISE, NOISE)
        order = tf.argsort(lengths * tf.exp(blur), stable=True)
        numbers = tf.range(batches, dtype=tf.int64)
        return order, tf.random.experimental.stateless_shuffle(numbers, seed=seeds)

    def _batch(self, parts, plan, batch):
        order, turn = plan
        begin = turn[batch] * self.batch_size
        return self._take(parts, order[begin : begin + self.batch_size])

    def _take(self, parts, rows):
        per_row, flat = parts[: len(parts) - self._flat], parts[len(parts) - self._flat :]
        if isinstance(rows, slice):
            starts, lengths, *others = (part[rows] for part in per_row)
        else:
            starts, lengths, *others = (tf.gather(part, rows) for part in per_row)
        steps = tf.range(tf.reduce_max(lengths))
        real = steps < lengths[:, None]
        places = tf.where(real, tf.cast(starts, tf.int32)[:, None] + steps, 0)
        return self._decode_padded(real, *(tf.gather(part, places) for part in flat), *others)
