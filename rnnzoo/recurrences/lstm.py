"""The LSTM recurrence, whose gradient may be detached step by step.

    i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    z_t = x_t W + h_{t-1} U + b
    c_t = f * c_{t-1} + i * g          h_t = o * tanh(c_t)

i, f, g, o = input gate, forget gate, candidate, output gate, in this order in the weights, as in
`keras.layers.LSTM`. One tanh serves the four gates, with sigmoid(z) = (1 + tanh(z/2)) / 2 folded
into the weights; the state that goes round the loop is 2h for the same reason.

Sources: Hochreiter & Schmidhuber (1997); detaching: Arpit et al., *h-detach* (2018).
"""

import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.recurrences._loops import (
    FORMS,
    in_graph,
    shard_count,
    sharded,
    static_or_dynamic,
    time_loop,
    with_adjoint,
)


def lstm(
    inputs,
    initial_h,
    initial_c,
    kernel,
    recurrent_kernel,
    bias=None,
    *,
    mask=None,
    keep_h=None,
    keep_c=None,
    form="auto",
    shards=None,
):
    """Run an LSTM over a batch of sequences.

    Args:
        inputs: `[B, T, F]`, float32 or float64; every other tensor has the same dtype.
        initial_h, initial_c: `[B, H]`.
        kernel: `[F, 4H]`. recurrent_kernel: `[H, 4H]`. bias: `[4H]`, or None for zeros.
        mask: `[B, T]` bool or None; where False, h and c are carried over the step.
        keep_h, keep_c: `[T]` bool or None. Where False, the gradient through h_{t-1}
            (through c_{t-1}) into step t is cut; values do not change, and weight gradients still
            see the value of h_{t-1}.
        form: `"adjoint"`, `"autodiff"` or `"auto"` (the adjoint).
        shards: Number of independent loops over parts of the batch; None chooses.

    Returns:
        `(outputs [B, T, H], h [B, H], c [B, H])`: outputs at masked steps repeat the carried h.

    Raises:
        ValueError: For shapes or dtypes that do not fit.
        SecondDerivativeError: When the adjoint form is differentiated twice.
    """
    tensors = _checked(inputs, initial_h, initial_c, kernel, recurrent_kernel, bias)
    inputs, initial_h, initial_c, kernel, recurrent_kernel, bias = tensors
    _checks.choice("form", form, FORMS)
    _checks.optional_integer("shards", shards)
    plain = form == "autodiff"
    optional = [
        None if v is None else tf.convert_to_tensor(v, tf.bool) for v in (mask, keep_h, keep_c)
    ]
    shards = shard_count(inputs.shape[0]) if shards is None else shards
    if tf.executing_eagerly():
        return in_graph(_sharded, (plain, shards), [*tensors, *optional], dynamic=_DYNAMIC)
    return _sharded(plain, shards, *tensors, *optional)


# Which axes of an eager call's tensors may differ between calls: batch and time.
_DYNAMIC = ((0, 1), (0,), (0,), (), (), (), (0, 1), (0,), (0,))


def _checked(inputs, initial_h, initial_c, kernel, recurrent_kernel, bias):
    inputs = tf.convert_to_tensor(inputs)
    dtype = inputs.dtype
    if dtype not in (tf.float32, tf.float64) or inputs.shape.rank != 3:
        raise ValueError(
            "`inputs` must be a float32 or float64 tensor of shape [batch, time, features]. "
            f"Received: inputs of shape {inputs.shape} and dtype {dtype.name}"
        )
    recurrent_kernel = tf.convert_to_tensor(recurrent_kernel, dtype)
    if (
        recurrent_kernel.shape.rank != 2
        or recurrent_kernel.shape[1] != 4 * recurrent_kernel.shape[0]
    ):
        raise ValueError(
            "`recurrent_kernel` must have the shape [units, 4 * units]. "
            f"Received: recurrent_kernel.shape={recurrent_kernel.shape}"
        )
    units, batch, features = recurrent_kernel.shape[0], inputs.shape[0], inputs.shape[2]
    if bias is None:
        bias = tf.zeros([4 * units], dtype)
    result = [inputs]
    for name, value, shape in (
        ("initial_h", initial_h, [batch, units]),
        ("initial_c", initial_c, [batch, units]),
        ("kernel", kernel, [features, 4 * units]),
        ("recurrent_kernel", recurrent_kernel, [units, 4 * units]),
        ("bias", bias, [4 * units]),
    ):
        value = tf.convert_to_tensor(value, dtype)
        if not value.shape.is_compatible_with(shape):
            raise ValueError(
                f"`{name}` must have the shape {shape}. Received: {name}.shape={value.shape}"
            )
        result.append(value)
    return result


def _sharded(plain, shards, inputs, h, c, kernel, recurrent_kernel, bias, mask, keep_h, keep_c):
    run = _plain_lstm if plain else _adjoint_lstm

    def shard(inputs, h, c, mask):
        return run(inputs, h, c, kernel, recurrent_kernel, bias, mask, keep_h, keep_c)

    return sharded(shard, [inputs, h, c, mask], shards)


def _adjoint_lstm(inputs, h, c, kernel, recurrent_kernel, bias, mask, keep_h, keep_c):
    """One shard. The loops run time-major, so each step reads one contiguous slice."""
    optional = {"mask": mask, "keep_h": keep_h, "keep_c": keep_c}
    given = {name: value for name, value in optional.items() if value is not None}
    if mask is not None:
        given["mask"] = tf.transpose(mask)[..., None]

    def options(rest):
        return dict(zip(given, rest))

    def forward(x, h, c, kernel, recurrent_kernel, bias, *rest):
        mask = options(rest).get("mask")
        return _forward(x, h, c, kernel, recurrent_kernel, bias, mask)

    def adjoint(arguments, outputs, saved, upstream):
        x, _, _, kernel, recurrent_kernel, _, *rest = arguments
        gradients = _adjoint(x, kernel, recurrent_kernel, saved, upstream, **options(rest))
        return [*gradients, *([None] * len(rest))]

    arguments = [tf.transpose(inputs, [1, 0, 2]), h, c, kernel, recurrent_kernel, bias]
    outputs, h, c = with_adjoint(
        forward, adjoint, [*arguments, *given.values()], "rnnzoo.recurrences.lstm"
    )
    return tf.transpose(outputs, [1, 0, 2]), h, c


def _forward(x, h, c, kernel, recurrent_kernel, bias, mask, keep_h=None, keep_c=None, save=True):
    steps, rows, units = static_or_dynamic(x, 0), static_or_dynamic(x, 1), recurrent_kernel.shape[0]
    weights = tf.concat([recurrent_kernel * 0.5, kernel, bias[None]], 0)
    weights *= _gates(units, 0.5, 0.5, 1.0, 0.5, x.dtype)
    x1 = tf.concat([x, tf.ones([steps, rows, 1], x.dtype)], 2)
    x1 = tf.TensorArray(x.dtype, steps).unstack(x1)
    masks = None if mask is None else tf.TensorArray(tf.bool, steps).unstack(mask)

    def array(size, length=steps):
        return tf.TensorArray(x.dtype, length, element_shape=[x.shape[1], size])

    def step(t, h2, c, outputs, *saved):
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
        return (new_h2, new_c, outputs.write(t + 1, new_h2), *saved)

    # The state that enters the first step is stored too: what enters each step is wanted on the
    # way back, and the array is never empty, which TensorFlow cannot stack.
    outputs = array(units, steps + 1).write(0, 2.0 * h)
    saved = (array(4 * units), array(units), array(units)) if save else ()
    h2, c, outputs, *saved = time_loop(step, (2.0 * h, c, outputs, *saved), steps)
    every_h = 0.5 * outputs.stack()
    return (every_h[1:], 0.5 * h2, c), (every_h[:-1], saved)


def _cut(value, keep, t):
    return value if keep is None else tf.where(keep[t], value, tf.stop_gradient(value))


def _adjoint(x, kernel, recurrent_kernel, saved, upstream, mask=None, keep_h=None, keep_c=None):
    """The reversed loop computes only the pre-activation gradients; the products come after it."""
    d_outputs, d_h, d_c = upstream
    steps, units = static_or_dynamic(x, 0), recurrent_kernel.shape[0]
    # With a = tanh of the folded pre-activation, dz = scale * (what the loop accumulates).
    scale = _gates(units, 0.125, 0.125, 0.25, 0.25, x.dtype)
    entering_h, saved = saved
    arrays = (saved, tf.TensorArray(x.dtype, steps).unstack(d_outputs), mask)
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
    stacked = tf.concat([entering_h, x, tf.ones_like(x[..., :1])], 2)
    stacked = tf.reshape(stacked, [-1, units + kernel.shape[0] + 1])
    d_weights = tf.matmul(stacked, flat, transpose_a=True) * scale
    d_recurrent, d_kernel, d_bias = tf.split(d_weights, [units, kernel.shape[0], 1], 0)
    d_x = tf.reshape(flat @ tf.transpose(kernel * scale), tf.shape(x))
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


def _gates(units, i, f, g, o, dtype):
    """A row of 4H constants, one value a gate."""
    return tf.constant(np.repeat([i, f, g, o], units), dtype)


def _plain_lstm(inputs, h, c, kernel, recurrent_kernel, bias, mask, keep_h, keep_c):
    """The same loop with nothing saved, differentiable as often as TensorFlow can."""
    x = tf.transpose(inputs, [1, 0, 2])
    mask = None if mask is None else tf.transpose(mask)[..., None]
    weights = (kernel, recurrent_kernel, bias)
    (outputs, h, c), _ = _forward(x, h, c, *weights, mask, keep_h, keep_c, save=False)
    return tf.transpose(outputs, [1, 0, 2]), h, c
