"""The LSTM's forward loop and its adjoint, as XLA for the CPU likes them.

The formulas are those of `rnnzoo.recurrences.lstm`. The recurrent product of the adjoint is two
products of half the depth: XLA would give the whole one to several threads, which the other shards
of the batch already keep busy.
"""

import tensorflow as tf

from rnnzoo.recurrences._lstm_loops import gate_row
from rnnzoo.recurrences._xla_loops import adjoint_loop, array, batch_row, forward_loop, row


def forward(x, h, c, kernel, recurrent_kernel, bias, mask=None):
    """`(outputs [B, T, H], h, c)`."""
    return _forward(x, h, c, kernel, recurrent_kernel, bias, mask, save=False)[0]


def forward_saving(x, h, c, kernel, recurrent_kernel, bias, mask=None):
    """The same, and what `adjoint` needs: every h, the gates and every c, time-major."""
    return _forward(x, h, c, kernel, recurrent_kernel, bias, mask, save=True)


def _forward(x, h, c, kernel, recurrent_kernel, bias, mask, save):
    steps, units = x.shape[1], recurrent_kernel.shape[0]
    scale = gate_row(units, 0.5, 0.5, 1.0, 0.5, x.dtype)
    weights = (kernel * scale, recurrent_kernel * (0.5 * scale), bias * scale)
    mask = None if mask is None else tf.transpose(mask)[..., None]

    def step(t, z, h2, c, every_h, *saved):
        a = tf.tanh(z(h2))
        i, f, g, o = tf.split(a, 4, 1)
        new_c = 0.5 * ((f + 1.0) * c + (i + 1.0) * g)
        new_h2 = (o + 1.0) * tf.tanh(new_c)
        if mask is not None:
            new_c, new_h2 = tf.where(mask[t], new_c, c), tf.where(mask[t], new_h2, h2)
        if save:
            gates, every_c = saved
            saved = gates.write(t, a), every_c.write(t + 1, new_c)
        return (new_h2, new_c, every_h.write(t + 1, 0.5 * new_h2), *saved)

    every_h = array(x, units, steps + 1).write(0, h)
    saved = (array(x, 4 * units, steps), array(x, units, steps + 1).write(0, c)) if save else ()
    state = (2.0 * h, c, every_h, *saved)
    h2, c, every_h, *saved = forward_loop(step, state, x, *weights)
    every_h = every_h.stack()
    outputs = tf.transpose(every_h[1:], [1, 0, 2])
    return (outputs, 0.5 * h2, c), ((every_h, *(s.stack() for s in saved)) if save else ())


def adjoint(x, kernel, recurrent_kernel, saved, upstream, mask=None, keep_h=None, keep_c=None):
    """Gradients of x, h, c, kernel, recurrent_kernel and bias."""
    every_h, gates, every_c = saved
    d_outputs, d_h, d_c = upstream
    units, dtype = recurrent_kernel.shape[0], x.dtype
    halves = tf.split(tf.transpose(recurrent_kernel), 2, 0)
    mask = None if mask is None else tf.transpose(mask)[..., None]

    def recurrent_product(t, parts):
        def product():
            return parts[0] @ halves[0] + parts[1] @ halves[1]

        if keep_h is None:
            return product()
        return tf.cond(keep_h[t], product, lambda: tf.zeros_like(parts[0][:, :units]))

    def step(t, d_h, d_c):
        i, f, g, o = (row(gates, t, units, part) for part in range(4))
        entering_c, tanh_c = row(every_c, t), tf.tanh(row(every_c, t + 1))
        d_h += batch_row(d_outputs, t)
        e = 0.5 * (d_c + 0.5 * d_h * (o + 1.0) * (1.0 - tanh_c * tanh_c))
        d_i, d_f = 0.5 * e * g * (1.0 - i * i), 0.5 * e * entering_c * (1.0 - f * f)
        d_g, d_o = e * (i + 1.0) * (1.0 - g * g), 0.25 * d_h * tanh_c * (1.0 - o * o)
        parts = [tf.concat([d_i, d_f], 1), tf.concat([d_g, d_o], 1)]
        new_d_c = e * (f + 1.0)
        if keep_c is not None:
            new_d_c *= tf.cast(keep_c[t], dtype)
        if mask is not None:
            m = mask[t]
            parts = [tf.where(m, part, tf.zeros_like(part)) for part in parts]
            new_d_c = tf.where(m, new_d_c, d_c)
        new_d_h = recurrent_product(t, parts)
        if mask is not None:
            new_d_h = tf.where(m, new_d_h, d_h)
        return new_d_h, new_d_c, tf.concat(parts, 1)

    (d_h, d_c), d_x, *d_weights = adjoint_loop(step, (d_h, d_c), x, every_h, kernel)
    return d_x, d_h, d_c, *d_weights
