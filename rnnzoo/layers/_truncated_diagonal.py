"""Truncated steps and windows of the diagonal complex recurrence of `LRU`.

A window of h_t = lambda h_{t-1} + z_t is S_k(t) = h_t - lambda^k h_{t-k}. The difference would
lose what the two have in common, which for |lambda| near 1 is nearly all; the same number without
a subtraction is the sum z_t + lambda z_{t-1} + ... + lambda^{k-1} z_{t-k+1}, and sums of powers of
two follow from each other:

    S_{r+m}(t) = S_r(t) + lambda^r S_m(t-r).
"""

import contextlib

import tensorflow as tf

from rnnzoo.recurrences._loops import static_or_dynamic


class LRUSteps:
    """The step object of an `LRUCell` (see `_truncated_cells`); z is [input product, skip]."""

    def __init__(self, cell, training):
        self.cell = cell
        self.dtype = tf.as_dtype(cell.state_dtype)
        self.lambda_re, self.lambda_im, self.b, self.c, self.d = cell.matrices()
        self.n = self.lambda_re.shape[0]

    def prepare(self, x):
        skip = x * self.d if self.d.shape.rank == 1 else tf.tensordot(x, self.d, 1)
        return tf.concat([tf.tensordot(x, self.b, 1), skip], axis=-1)

    def step(self, z, states, structure):
        re, im = states
        z_re, z_im, skip = self._parts(z)
        re, im = (
            self.lambda_re * re - self.lambda_im * im + z_re,
            self.lambda_re * im + self.lambda_im * re + z_im,
        )
        return self._output(re, im, skip), [re, im]

    @contextlib.contextmanager
    def repeated(self, times):
        yield

    def windows(self, z, k):
        """`(outputs, states)` of all windows of `z [T, B, G]` at once, in log k rounds."""
        z_re, z_im, skip = self._parts(z)
        power, multiplier = tf.complex(z_re, z_im), tf.complex(self.lambda_re, self.lambda_im)
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
        return self._output(re, im, skip), [re, im]

    def _parts(self, z):
        return z[..., : self.n], z[..., self.n : 2 * self.n], z[..., 2 * self.n :]

    def _output(self, re, im, skip):
        return tf.tensordot(tf.concat([re, im], axis=-1), self.c, 1) + skip


def _delayed(values, steps):
    """`values [T, ...]` that many steps later, with zeros before the first."""
    time = static_or_dynamic(values, 0)
    steps = min(steps, time) if isinstance(time, int) else tf.minimum(steps, time)
    before = tf.zeros_like(values[:steps])
    delayed = tf.concat([before, values[: time - steps]], axis=0)
    delayed.set_shape(values.shape)
    return delayed
