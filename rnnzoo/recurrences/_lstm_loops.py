"""The LSTM's forward loop and its adjoint in plain TensorFlow: any T, any device, exportable.

The formulas are those of `rnnzoo.recurrences.lstm`. Arguments are batch-major; the loops run
time-major, so that each step reads one contiguous slice.
"""

import numpy as np
import tensorflow as tf

from rnnzoo.recurrences._loops import static_or_dynamic, time_loop


def gate_row(units, i, f, g, o, dtype):
    """A row of 4H constants, one value a gate."""
    return tf.constant(np.repeat([i, f, g, o], units), dtype)


def _time_major(values):
    return tf.transpose(values, [1, 0, 2])


def _masks(mask):
    return None if mask is None else tf.transpose(mask)[..., None]


def forward(x, h, c, kernel, recurrent_kernel, bias, mask=None, keep_h=None, keep_c=None, *, save):
    """`((outputs [B, T, H], h, c), saved)`; `saved` is what `adjoint` needs.

    The keeps are for a loop that TensorFlow differentiates; the adjoint takes them itself.
    """
    x = _time_major(x)
    steps, rows, units = static_or_dynamic(x, 0), static_or_dynamic(x, 1), recurrent_kernel.shape[0]
    weights = tf.concat([recurrent_kernel * 0.5, kernel, bias[None]], 0)
    weights *= gate_row(units, 0.5, 0.5, 1.0, 0.5, x.dtype)
    x1 = tf.concat([x, tf.ones([steps, rows, 1], x.dtype)], 2)
    x1 = tf.TensorArray(x.dtype, steps).unstack(x1)
    masks = None if mask is None else tf.TensorArray(tf.bool, steps).unstack(_masks(mask))

    def array(size, length=steps):
        return tf.TensorArray(x.dtype, length, element_shape=[x.shape[1], size])

    def step(t, h2, c, every_h, *saved):
        entering_c = _cut(c, keep_c, t)
        a = tf.tanh(tf.concat([_cut(h2, keep_h, t), x1.read(t)], 1) @ weights)
        i, f, g, o = tf.split(a, 4, 1)
        new_c = 0.5 * tf.add_n([entering_c, f * entering_c, g, i * g])
        tanh_c = tf.tanh(new_c)
        new_h2 = tanh_c + o * tanh_c
        if masks is not None:
            m = masks.read(t)
            new_h2, new_c = tf.where(m, new_h2, h2), tf.where(m, new_c, c)
        saved = [array.write(t, value) for array, value in zip(saved, (a, c, tanh_c))]
        return (new_h2, new_c, every_h.write(t + 1, 0.5 * new_h2), *saved)

    # The state that enters the first step is stored too: what enters each step is wanted on the
    # way back, and the array is never empty, which TensorFlow cannot stack.
    every_h = array(units, steps + 1).write(0, h)
    saved = (array(4 * units), array(units), array(units)) if save else ()
    h2, c, every_h, *saved = time_loop(step, (2.0 * h, c, every_h, *saved), steps)
    every_h = every_h.stack()
    return (_time_major(every_h[1:]), 0.5 * h2, c), (every_h, saved)


def _cut(value, keep, t):
    return value if keep is None else tf.where(keep[t], value, tf.stop_gradient(value))


def adjoint(x, kernel, recurrent_kernel, saved, upstream, mask=None, keep_h=None, keep_c=None):
    """Gradients of x, h, c, kernel, recurrent_kernel and bias.

    The reversed loop computes only the pre-activation gradients; the products come after it.
    """
    d_outputs, d_h, d_c = upstream
    x = _time_major(x)
    steps, units = static_or_dynamic(x, 0), recurrent_kernel.shape[0]
    # With a = tanh of the folded pre-activation, dz = scale * (what the loop accumulates).
    scale = gate_row(units, 0.125, 0.125, 0.25, 0.25, x.dtype)
    every_h, saved = saved
    d_outputs = tf.TensorArray(x.dtype, steps).unstack(_time_major(d_outputs))
    arrays = (saved, d_outputs, _masks(mask))
    loop = _reversed_loop(arrays, tf.transpose(recurrent_kernel * scale), steps, x.shape[1])
    if keep_h is None and keep_c is None:
        d_h, d_c2, dz = loop(d_h, 2.0 * d_c)
    else:
        keeps = [k for k in (keep_h, keep_c) if k is not None]
        nothing_cut = tf.reduce_all([tf.reduce_all(k) for k in keeps])
        d_h, d_c2, dz = tf.cond(
            nothing_cut,
            lambda: loop(d_h, 2.0 * d_c),
            lambda: loop(d_h, 2.0 * d_c, keep_h, keep_c),
        )
    flat = tf.reshape(dz, [-1, 4 * units])
    stacked = tf.concat([every_h[:-1], x, tf.ones_like(x[..., :1])], 2)
    stacked = tf.reshape(stacked, [-1, units + kernel.shape[0] + 1])
    d_weights = tf.matmul(stacked, flat, transpose_a=True) * scale
    d_recurrent, d_kernel, d_bias = tf.split(d_weights, [units, kernel.shape[0], 1], 0)
    d_x = _time_major(tf.reshape(flat @ tf.transpose(kernel * scale), tf.shape(x)))
    return d_x, d_h, 0.5 * d_c2, d_kernel, d_recurrent, d_bias[0]


def _reversed_loop(arrays, recurrent_t, steps, rows):
    """`loop(d_h, d_2c, keep_h, keep_c) -> (d_h, d_2c, scaled dz [T, B, 4H])`."""
    (gates, carries, squashed), d_outputs, mask = arrays
    dtype = recurrent_t.dtype

    def loop(d_h, d_c2, keep_h=None, keep_c=None):
        def recurrent_product(t, dz):
            if keep_h is None:
                return dz @ recurrent_t
            return tf.cond(keep_h[t], lambda: dz @ recurrent_t, lambda: tf.zeros_like(d_h))

        def step(t, d_h, d_c2, dzs):
            a, tanh_c, c = gates.read(t), squashed.read(t), carries.read(t)
            i, f, g, o = tf.split(a, 4, 1)
            d_h += d_outputs.read(t)
            e2 = d_c2 + tf.raw_ops.TanhGrad(y=tanh_c, dy=d_h + d_h * o)
            dz = tf.concat([e2 * g, e2 * c, e2 + e2 * i, d_h * tanh_c], 1)
            dz = tf.raw_ops.TanhGrad(y=a, dy=dz)
            new_d_c2 = 0.5 * (e2 + e2 * f)
            if keep_c is not None:
                new_d_c2 *= tf.cast(keep_c[t], dtype)
            if mask is not None:
                m = mask[t]
                dz = tf.where(m, dz, tf.zeros_like(dz))
                new_d_c2 = tf.where(m, new_d_c2, d_c2)
            new_d_h = recurrent_product(t, dz)
            if mask is not None:
                new_d_h = tf.where(m, new_d_h, d_h)
            return new_d_h, new_d_c2, dzs.write(t, dz)

        dzs = tf.TensorArray(dtype, steps + 1, element_shape=[rows, recurrent_t.shape[0]])
        never_empty = tf.tile(tf.zeros_like(d_h), [1, 4])
        dzs = dzs.write(steps, never_empty)
        d_h, d_c2, dzs = time_loop(step, (d_h, d_c2, dzs), steps, reverse=True)
        return d_h, d_c2, dzs.stack()[:-1]

    return loop
