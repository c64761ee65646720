"""The simple recurrence and its adjoint, as XLA for the CPU likes them.

The formulas are those of `rnnzoo.recurrences.simple_rnn`; for activations whose slope is a function
of their output.
"""

import tensorflow as tf

from rnnzoo.recurrences._xla_loops import adjoint_loop, array, batch_row, forward_loop, row


def forward(activation, x, h, kernel, recurrent_kernel, bias, mask=None):
    """`((outputs [B, T, H], h), every h from the initial one on [T + 1, B, H])`."""
    steps, units = x.shape[1], recurrent_kernel.shape[0]
    mask = None if mask is None else tf.transpose(mask)[..., None]

    def step(t, a, h, every_h):
        new_h = activation(a(h))
        if mask is not None:
            new_h = tf.where(mask[t], new_h, h)
        return new_h, every_h.write(t + 1, new_h)

    state = (h, array(x, units, steps + 1).write(0, h))
    h, every_h = forward_loop(step, state, x, kernel, recurrent_kernel, bias)
    every_h = every_h.stack()
    return (tf.transpose(every_h[1:], [1, 0, 2]), h), every_h


def adjoint(slope, x, kernel, recurrent_kernel, every_h, upstream, mask=None):
    """Gradients of x, h, kernel, recurrent_kernel and bias; `slope(h)` is rho' where rho is h."""
    d_outputs, d_h = upstream
    transposed = tf.transpose(recurrent_kernel)
    mask = None if mask is None else tf.transpose(mask)[..., None]

    def step(t, d_h):
        d_h += batch_row(d_outputs, t)
        dz = d_h * slope(row(every_h, t + 1))
        if mask is None:
            return dz @ transposed, dz
        dz = tf.where(mask[t], dz, tf.zeros_like(dz))
        return tf.where(mask[t], dz @ transposed, d_h), dz

    (d_h,), d_x, *d_weights = adjoint_loop(step, (d_h,), x, every_h, kernel)
    return d_x, d_h, *d_weights
