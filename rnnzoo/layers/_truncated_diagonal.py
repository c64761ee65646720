"""Truncated steps of the linear recurrences, and all windows of the diagonal complex one at once.

A window of h_t = lambda h_{t-1} + z_t is S_k(t) = h_t - lambda^k h_{t-k}. The difference would
lose what the two have in common, which for |lambda| near 1 is nearly all; the same number without
a subtraction is the sum z_t + lambda z_{t-1} + ... + lambda^{k-1} z_{t-k+1}, and sums of powers of
two follow from each other:

    S_{r+m}(t) = S_r(t) + lambda^r S_m(t-r).
"""

import contextlib

import tensorflow as tf

from rnnzoo.recurrences._loops import static_or_dynamic


class LinearSteps:
    """The step object of a `LinearRNNCell` (see `_truncated_cells`); z is [input product, skip]."""

    def __init__(self, cell, training):
        self.cell = cell
        self.dtype = tf.as_dtype(cell.state_dtype)
        *self.recurrence, self.b, self.c, self.d = cell.matrices()
        self.n = cell.n

    def prepare(self, x):
        skip = x * self.d if self.d.shape.rank == 1 else tf.tensordot(x, self.d, 1)
        return tf.concat([tf.tensordot(x, self.b, 1), skip], axis=-1)

    def step(self, z, states, structure):
        h = z[..., : self.n] + tf.matmul(states[0], *self.recurrence)
        return self._output(h, z[..., self.n :]), [h]

    @contextlib.contextmanager
    def repeated(self, times):
        yield  # there is no mask to repeat

    def _output(self, h, skip):
        return tf.tensordot(h, self.c, 1) + skip


class LRUSteps(LinearSteps):
    """That of an `LRUCell`."""

    def step(self, z, states, structure):
        (re, im), (lambda_re, lambda_im) = states, self.recurrence
        z_re, z_im, skip = self._parts(z)
        re, im = (
            lambda_re * re - lambda_im * im + z_re,
            lambda_re * im + lambda_im * re + z_im,
        )
        return self._output(tf.concat([re, im], axis=-1), skip), [re, im]

    def windows(self, z, k):
        """`(outputs, states)` of all windows of `z [T, B, G]` at once, in log k rounds."""
        z_re, z_im, skip = self._parts(z)
        power, multiplier = tf.complex(z_re, z_im), tf.complex(*self.recurrence)
        total, delay, reach = None, 0, tf.ones_like(multiplier)
        length = 1
        # power, multiplier = S_length, lambda^length; total, reach = S_delay, lambda^delay
        while True:
            if k & length:
                term = reach * _delayed(power, delay)
                total = term if total is None else total + term
                delay, reach = delay + length, reach * multiplier
            if 2 * length > k:
                break
            power += multiplier * _delayed(power, length)
            multiplier, length = multiplier * multiplier, 2 * length
        re, im = tf.math.real(total), tf.math.imag(total)
        return self._output(tf.concat([re, im], axis=-1), skip), [re, im]

    def _parts(self, z):
        return z[..., : self.n], z[..., self.n : 2 * self.n], z[..., 2 * self.n :]


class LRUBlockSteps(LRUSteps):
    """That of an `LRUBlockCell`, all of which but the recurrence acts on each step alone."""

    def __init__(self, cell, training):
        cell.refuse_single_steps(training)
        super().__init__(cell.lru, training)
        self.block, self.training = cell, training

    def prepare(self, x):
        stream, x = (tf.cast(v, self.dtype) for v in self.block.before(x, self.training))
        return tf.concat([super().prepare(x), stream], axis=-1)

    def _output(self, h, skip):
        skip, stream = tf.split(skip, 2, axis=-1)
        y = super()._output(h, skip)
        rows = y.shape.rank == 2  # where the norm takes sequences alone
        stream, y = (v[None] if rows else v for v in (stream, y))
        y = tf.cast(self.block.after(stream, y, self.training), self.dtype)
        return y[0] if rows else y


def _delayed(values, steps):
    """`values [T, ...]` that many steps later, with zeros before the first."""
    time = static_or_dynamic(values, 0)
    steps = min(steps, time) if isinstance(time, int) else tf.minimum(steps, time)
    before = tf.zeros_like(values[:steps])
    delayed = tf.concat([before, values[: time - steps]], axis=0)
    delayed.set_shape(values.shape)
    return delayed
