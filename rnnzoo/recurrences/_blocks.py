"""A diagonal complex recurrence in two passes over blocks of time.

T steps in sequence cost T small operations. Cut into C blocks of L steps, all blocks advance
together: L operations find how each block ends when it starts from zero, C tiny ones carry the
state from block to block, and L more give every state. With C about 2 sqrt(T), because a step of
all blocks costs more than a carry, and rows wide enough to keep a core busy but not wider than its
cache, this is the fastest form without XLA, and it needs no static shape. A mask is not known here:
`diagonal.py` packs the real steps to the front.

Layout: `[L, R, N]` with R = B*C rows, row b*C + c at position l holding step t = c*L + l.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.recurrences._loops import static_or_dynamic, time_loop

BLOCK_WIDTH = 32768  # complex numbers in a row of all blocks: about one core's second-level cache


class Plan(NamedTuple):
    """How [B, T] is cut: integers where the shape is static, scalar tensors elsewhere."""

    batch: int | tf.Tensor
    time: int | tf.Tensor
    blocks: int | tf.Tensor
    length: int | tf.Tensor

    @property
    def rows(self):
        return self.batch * self.blocks

    @property
    def is_full(self):
        """Whether it is known that there are steps, and that they fill the blocks exactly."""
        known = isinstance(self.time, int) and isinstance(self.blocks, int)
        return known and 0 < self.time == self.blocks * self.length


def plan(sequences, n):
    """Choose blocks for `sequences [B, T, ...]` and `n` states; no block is empty if T > 0."""
    batch, time = static_or_dynamic(sequences, 0), static_or_dynamic(sequences, 1)
    if isinstance(batch, int) and isinstance(time, int):
        blocks = max(1, min(time, BLOCK_WIDTH // max(1, batch * n), 2 * math.isqrt(time)))
        return Plan(batch, time, blocks, max(1, -(-time // blocks)))
    root = tf.cast(tf.sqrt(tf.cast(time, tf.float32)), tf.int32)
    wide = tf.minimum(BLOCK_WIDTH // tf.maximum(1, batch * n), 2 * root)
    blocks = tf.maximum(1, tf.minimum(time, wide))
    return Plan(batch, time, blocks, tf.maximum(1, (time + blocks - 1) // blocks))


def to_blocks(v, cut):
    """[B, T, F] -> [L, R, F], with zeros after the last step."""
    padding = cut.blocks * cut.length - cut.time
    v = tf.pad(v, [[0, 0], [0, padding], [0, 0]])
    return tf.transpose(tf.reshape(v, [cut.rows, cut.length, v.shape[2]]), [1, 0, 2])


def from_blocks(v, cut):
    """[L, R, F] -> [B, T, F]."""
    v = tf.transpose(v, [1, 0, 2])
    return tf.reshape(v, [cut.batch, cut.blocks * cut.length, v.shape[2]])[:, : cut.time]


def position(step, cut):
    """Where step `[B]` of each batch row stands in the block layout: indices `[B, 2]`."""
    row = tf.range(cut.batch) * cut.blocks + step // cut.length
    return tf.stack([step % cut.length, row], axis=1)


def previous_of_first_rows(states, initial, cut):
    """The state before each block: `[R, N]`, the end of the block before it or `initial`."""
    ends = tf.reshape(states[-1], [cut.batch, cut.blocks, states.shape[2]])
    return tf.reshape(
        tf.concat([initial[:, None], ends[:, :-1]], axis=1), [cut.rows, states.shape[2]]
    )


class _Slices(NamedTuple):
    """v[0], v[1], ... to read in a loop, without a copy; but the gradient of a slice is as large as
    the whole, so where one is asked for, the steps are the copies of a TensorArray."""

    whole: tf.Tensor

    def read(self, t):
        return self.whole[t]


def _steps(v, differentiable=False):
    if not differentiable:
        return _Slices(v)
    return tf.TensorArray(
        v.dtype, static_or_dynamic(v, 0), clear_after_read=False, element_shape=v.shape[1:]
    ).unstack(v)


def power(value, exponent):
    """value ** exponent by squaring: exact at 0 and in the angle, unlike the complex `tf.pow`."""
    if isinstance(exponent, int):
        result = tf.ones_like(value)
        while exponent:
            result = result * value if exponent % 2 else result
            value, exponent = value * value, exponent // 2
        return result

    def square(n, base, result):
        return n // 2, base * base, tf.where(n % 2 == 1, result * base, result)

    start = (exponent, value, tf.ones_like(value))
    return tf.while_loop(lambda n, *_: n > 0, square, start, parallel_iterations=1)[2]


def _carries(eigenvalues, advance, start, cut, reverse=False, differentiable=False):
    """The state with which each block starts, `[R, N]`; a block's step is `advance(t, h)`."""
    n = eigenvalues.shape[0]
    zeros = tf.zeros([cut.rows, n], eigenvalues.dtype)
    if isinstance(cut.blocks, int):
        steps = cut.length if cut.blocks > 1 else 0
    else:
        steps = tf.where(cut.blocks > 1, cut.length, 0)
    (ends,) = time_loop(lambda t, h: (advance(t, h),), (zeros,), steps, reverse=reverse)
    ends = tf.transpose(tf.reshape(ends, [cut.batch, cut.blocks, n]), [1, 0, 2])
    ends = _steps(ends, differentiable)
    across = power(eigenvalues, cut.length)
    found = tf.TensorArray(eigenvalues.dtype, cut.blocks, element_shape=start.shape)

    def carry(c, state, found):
        return across * state + ends.read(c), found.write(c, state)

    _, found = time_loop(carry, (start, found), cut.blocks, reverse=reverse, unroll=1)
    return tf.reshape(tf.transpose(found.stack(), [1, 0, 2]), [cut.rows, n])


def _widen(eigenvalues, cut):
    return tf.tile(eigenvalues[None], [cut.rows, 1])  # a broadcast complex product is slower


def scan(eigenvalues, inputs, start, cut, differentiable=False):
    """h_t = eigenvalues * h_{t-1} + inputs_t from h_{-1} = `start`; states `[L, R, N]`."""
    wide, inputs = _widen(eigenvalues, cut), _steps(inputs, differentiable)

    def advance(t, h):
        return wide * h + inputs.read(t)

    state = _carries(eigenvalues, advance, start, cut, differentiable=differentiable)
    states = tf.TensorArray(state.dtype, cut.length, element_shape=state.shape)

    def step(t, h, states):
        h = advance(t, h)
        return h, states.write(t, h)

    _, states = time_loop(step, (state, states), cut.length)
    return states.stack()


def reverse_scan(eigenvalues, inputs, after, states, initial, cut):
    """g_t = s_{t+1} + inputs_t with s_t = eigenvalues * g_t, back from s_T = `after` `[B, N]`.

    Returns `g [L, R, N]`, `s_0 [B, N]` and the sum over B and T of g_t h_{t-1}, `[N]`; `states` and
    `initial` are those of the forward scan.
    """
    before = previous_of_first_rows(states, initial, cut)
    wide, inputs, states = _widen(eigenvalues, cut), _steps(inputs), _steps(states)
    s = _carries(eigenvalues, lambda t, s: wide * (s + inputs.read(t)), after, cut, reverse=True)
    found = tf.TensorArray(s.dtype, cut.length, element_shape=s.shape)

    # Subtracted, because TensorFlow would make one slow sum of the additions of an iteration.
    def step(t, s, minus, found):
        g = s + inputs.read(t + 1)
        return wide * g, minus - g * states.read(t), found.write(t + 1, g)

    loop = (s, tf.zeros_like(s), found)
    s, minus, found = time_loop(step, loop, cut.length - 1, reverse=True)
    g = s + inputs.read(0)
    s = eigenvalues * tf.reshape(g, [cut.batch, cut.blocks, g.shape[1]])[:, 0]
    return found.write(0, g).stack(), s, tf.reduce_sum(g * before - minus, axis=0)


# Complex numbers as pairs. Interleaved in memory, a pair of floats is a complex number for free
# (`tf.bitcast`), and the projections can write and read it in that order. XLA has no such cast, and
# TensorFlow no gradient of it: there the two halves [re | im] stand side by side.


def can_interleave():
    return not _keras.under_xla()


def _order(w):
    """Columns [re | im] -> re, im, re, im, ..."""
    rows, n = w.shape[0], w.shape[1] // 2
    return tf.reshape(tf.transpose(tf.reshape(w, [rows, 2, n]), [0, 2, 1]), [rows, 2 * n])


def _unorder(w):
    rows, n = w.shape[0], w.shape[1] // 2
    return tf.reshape(tf.transpose(tf.reshape(w, [rows, n, 2]), [0, 2, 1]), [rows, 2 * n])


def _flat(v):
    rows = static_or_dynamic(v, 0) * static_or_dynamic(v, 1)  # no -1: there may be no columns
    return tf.reshape(v, [rows, v.shape[2]])


def _halves(z):
    return tf.concat([tf.math.real(z), tf.math.imag(z)], axis=-1)


def _pairs(z):
    """[..., N] complex -> [M, 2N] real, interleaved."""
    real = tf.float32 if z.dtype == tf.complex64 else tf.float64
    return tf.reshape(tf.bitcast(z, real), [-1, 2 * z.shape[-1]])


def read_in(x, w, interleave):
    """Real `x [L, R, F]` by `w [F, 2N] = [re | im]` -> complex `[L, R, N]`."""
    n = w.shape[1] // 2
    lead = [static_or_dynamic(x, 0), static_or_dynamic(x, 1)]
    if not interleave:
        return tf.complex(*tf.split(tf.reshape(_flat(x) @ w, [*lead, 2 * n]), 2, axis=-1))
    kind = tf.complex64 if x.dtype == tf.float32 else tf.complex128
    return tf.bitcast(tf.reshape(_flat(x) @ _order(w), [*lead, n, 2]), kind)


def read_out(z, w, interleave):
    """Complex `z [L, R, N]` -> re(z) @ w[:N] + im(z) @ w[N:], `[L, R, U]`."""
    lead = [static_or_dynamic(z, 0), static_or_dynamic(z, 1)]
    if interleave:
        flat, w = _pairs(z), tf.transpose(_order(tf.transpose(w)))
    else:
        flat = _flat(_halves(z))
    return tf.reshape(flat @ w, [*lead, w.shape[1]])


def outer(x, z, interleave):
    """Sum over all steps of x_t outer [re z_t | im z_t]: `[F, 2N]`."""
    if interleave:
        return _unorder(tf.matmul(_flat(x), _pairs(z), transpose_a=True))
    return tf.matmul(_flat(x), _flat(_halves(z)), transpose_a=True)
