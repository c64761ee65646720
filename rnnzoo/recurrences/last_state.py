"""The last state of the diagonal recurrence alone, and its output: no loop where inputs are few."""

from __future__ import annotations

import math

import tensorflow as tf

from rnnzoo.recurrences import _forms
from rnnzoo.recurrences._blocks import power
from rnnzoo.recurrences._diagonal_arguments import (
    checked_mask,
    checked_projections,
    checked_state,
)
from rnnzoo.recurrences._packing import newest, pack, packing
from rnnzoo.recurrences.diagonal import lru


@tf.autograph.experimental.do_not_convert
def lru_last(
    inputs: tf.Tensor,
    initial_re: tf.Tensor,
    initial_im: tf.Tensor,
    lambda_re: tf.Tensor,
    lambda_im: tf.Tensor,
    b: tf.Tensor,
    c: tf.Tensor,
    d: tf.Tensor | None = None,
    *,
    mask: tf.Tensor | None = None,
    form: str = "auto",
) -> tuple[tf.Tensor, ...]:
    r"""The last output and the last state of `rnnzoo.recurrences.lru`, for less than all of them.

    With L the number of real steps of a row and x_0 ... x_{L-1} its inputs at them:

    h = lambda^L h_{-1} + sum_t lambda^(L-1-t) x_t (b_re + i b_im),
    y = re(h) c_1 + im(h) c_2 + d x_{L-1}

    Each feature's sum over t is a product of the inputs, `[B, T]`, with a table of powers,
    `[T, N]`, whose entry is that of the step's distance to the last real one. The powers are
    products of two float64 powers out of tables of sqrt(T), so that their angles are exact for any
    T; differentiated are these products, with no loop.

    Args:
        inputs, initial_re, initial_im, lambda_re, lambda_im, b, c, d, mask: As in `lru`.
        form: `"powers"` (the sum above; T must be known), or a loop whose states alone are kept:
            `"adjoint"` or `"plain"`, as in `lru`. `"auto"` (default) takes the powers where T is
            known and F at most 8, and else the adjoint.

    Returns:
        `(output [B, U], final_re [B, N], final_im [B, N])`; the output is 0 in a row without any
        real step.

    Raises:
        ValueError: For a wrong shape, dtype or `form`, before any computation.
        SecondDerivativeError: When the gradient of a hand-written adjoint is differentiated.

    Source: Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences" (2023), for
    the recurrence; its solution as a sum is elementary.

    >>> import tensorflow as tf
    >>> y, re, im = lru_last(tf.ones([1, 3, 1]), [[0.0]], [[0.0]], [0.5], [0.0], [[1.0, 0.0]],
    ...                      [[2.0], [0.0]])
    >>> y.numpy().tolist(), re.numpy().tolist()
    ([[3.5]], [[1.75]])
    """
    inputs = tf.convert_to_tensor(inputs)
    state = checked_state(inputs, initial_re, initial_im, lambda_re, lambda_im)
    n = state[2].shape[0]
    b, c, d = checked_projections(inputs, n, b, c, d)
    mask = checked_mask(inputs, mask)
    if _by_powers(form, inputs):
        final = _sums(inputs, *state, b, mask)
    else:
        _, *final = lru(inputs, *state, b, c[:, :0], mask=mask, form=form)
    output = tf.matmul(tf.concat(final, axis=1), c)
    if d is not None:
        x = newest(inputs, mask)
        output += x * d if d.shape.rank == 1 else tf.matmul(x, d)
    if mask is not None:
        output = tf.where(tf.reduce_any(mask, axis=1)[:, None], output, tf.zeros_like(output))
    elif not inputs.shape[1]:
        output *= tf.cast(tf.shape(inputs)[1] > 0, output.dtype)
    return (output, *final)


def _by_powers(form, inputs):
    if form != "powers":
        return form == "auto" and _forms.powers_pay(inputs)
    if not inputs.shape[1]:
        raise ValueError(
            '`form` must be "auto", "adjoint" or "plain" where the number of time steps is 0 or '
            f"not known when the graph is made. Received: form='powers', inputs of {inputs.shape}"
        )
    return True


def _sums(inputs, initial_re, initial_im, lambda_re, lambda_im, b, mask):
    """The final state `[B, N]` as a pair."""
    time, n, dtype = inputs.shape[1], lambda_re.shape[0], inputs.dtype
    eigenvalue = tf.complex(tf.cast(lambda_re, tf.float64), tf.cast(lambda_im, tf.float64))
    x = tf.reverse(inputs, [1])  # the place of a step is its distance to the last one
    if mask is None:
        table = _powers(eigenvalue, time, dtype)
        decay_re, decay_im = _pair(power(eigenvalue, time), dtype)
    else:
        x = pack(x, packing(tf.reverse(mask, [1])))
        table = _powers(eigenvalue, time + 1, dtype)
        count = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        decay_re, decay_im = tf.split(tf.gather(table, count), 2, axis=1)
    x = tf.pad(x, [[0, 0], [0, table.shape[0] - time], [0, 0]])
    sum_re, sum_im = tf.split(tf.tensordot(x, table, [[1], [0]]), 2, axis=2)  # [B, F, N]
    b_re, b_im = b[:, :n], b[:, n:]
    driven_re = tf.reduce_sum(sum_re * b_re - sum_im * b_im, axis=1)
    driven_im = tf.reduce_sum(sum_re * b_im + sum_im * b_re, axis=1)
    return [
        decay_re * initial_re - decay_im * initial_im + driven_re,
        decay_re * initial_im + decay_im * initial_re + driven_im,
    ]


def _powers(eigenvalue, count, dtype):
    """`[M, 2N]`, M at least `count`: re and im of eigenvalue^0, eigenvalue^1, ... side by side.

    eigenvalue^(K a + k) = (eigenvalue^K)^a eigenvalue^k, one rounding of `dtype` in each entry.
    """
    fine = math.isqrt(count - 1) + 1
    coarse = -(-count // fine)
    slow = _successive(power(eigenvalue, fine), coarse)[:, None]
    fast = _successive(eigenvalue, fine)[None]
    (slow_re, slow_im), (re, im) = _pair(slow, dtype), _pair(fast, dtype)
    by_re, by_im = tf.concat([re, im], axis=2), tf.concat([-im, re], axis=2)
    table = tf.tile(slow_re, [1, 1, 2]) * by_re + tf.tile(slow_im, [1, 1, 2]) * by_im
    return tf.reshape(table, [coarse * fine, table.shape[2]])


def _successive(value, count):
    """`[count, N]`: value^0 ... value^(count - 1), by doubling."""
    table, step = tf.ones_like(value)[None], value
    while table.shape[0] < count:
        table = tf.concat([table, table * step], axis=0)
        step *= step
    return table[:count]


def _pair(z, dtype):
    return tf.cast(tf.math.real(z), dtype), tf.cast(tf.math.imag(z), dtype)
