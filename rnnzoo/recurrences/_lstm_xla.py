"""The LSTM's forward loop and its adjoint, as XLA for the CPU likes them.

The formulas are those of `rnnzoo.recurrences.lstm`. What differs, and why (measured):
each saved gate is read by a slice of its own, because a slice of a slice is not vectorised; the
weight gradients are summed chunk by chunk, so that the pre-activation gradients of all steps never
exist at once; the recurrent product of the adjoint is two products of half the depth, because XLA
would give the whole one to several threads, which the other batch shards already keep busy.

Arguments are batch-major and read where they are, step by step; what is saved is time-major.
T must be known.
"""

import tensorflow as tf

from rnnzoo.recurrences._loops import static_or_dynamic
from rnnzoo.recurrences._lstm_loops import gate_row

LARGEST_CHUNK = 32
CHUNK = 16


def _row(values, t, width=None, part=0):
    """values[t, :, part * width : (part + 1) * width] of `[T, B, n]`."""
    rows = static_or_dynamic(values, 1)
    width = values.shape[2] if width is None else width
    return tf.reshape(tf.slice(values, [t, 0, part * width], [1, rows, width]), [rows, width])


def _batch_row(values, t):
    """values[:, t] of `[B, T, n]`."""
    rows, width = static_or_dynamic(values, 0), values.shape[2]
    return tf.reshape(tf.slice(values, [0, t, 0], [rows, 1, width]), [rows, width])


def _while(step, state, steps, reverse=False):
    """state = step(t, *state) for every t; XLA needs no steps that share an iteration."""
    time_of = (lambda j: steps - 1 - j) if reverse else (lambda j: j)
    loop = tf.while_loop(
        lambda j, *_: j < steps,
        lambda j, *state: (j + 1, *step(time_of(j), *state)),
        (tf.constant(0), *state),
        maximum_iterations=steps,
    )
    return loop[1:]


def forward(x, h, c, kernel, recurrent_kernel, bias, mask=None):
    """`(outputs [B, T, H], h, c)`."""
    return _forward(x, h, c, kernel, recurrent_kernel, bias, mask, save=False)[0]


def forward_saving(x, h, c, kernel, recurrent_kernel, bias, mask=None):
    """The same, and what `adjoint` needs: every h, the gates and every c, time-major."""
    return _forward(x, h, c, kernel, recurrent_kernel, bias, mask, save=True)


def _forward(x, h, c, kernel, recurrent_kernel, bias, mask, save):
    rows, steps, units = static_or_dynamic(x, 0), x.shape[1], recurrent_kernel.shape[0]
    weights = tf.concat([recurrent_kernel * 0.5, kernel, bias[None]], 0)
    weights *= gate_row(units, 0.5, 0.5, 1.0, 0.5, x.dtype)
    one = tf.ones([rows, 1], x.dtype)
    mask = None if mask is None else tf.transpose(mask)[..., None]

    def array(width, length):
        return tf.TensorArray(x.dtype, length, element_shape=[x.shape[0], width])

    def step(t, h2, c, every_h, *saved):
        a = tf.tanh(tf.concat([h2, _batch_row(x, t), one], 1) @ weights)
        i, f, g, o = tf.split(a, 4, 1)
        new_c = 0.5 * ((f + 1.0) * c + (i + 1.0) * g)
        new_h2 = (o + 1.0) * tf.tanh(new_c)
        if mask is not None:
            new_c, new_h2 = tf.where(mask[t], new_c, c), tf.where(mask[t], new_h2, h2)
        if save:
            gates, every_c = saved
            saved = gates.write(t, a), every_c.write(t + 1, new_c)
        return (new_h2, new_c, every_h.write(t + 1, 0.5 * new_h2), *saved)

    every_h = array(units, steps + 1).write(0, h)
    saved = (array(4 * units, steps), array(units, steps + 1).write(0, c)) if save else ()
    h2, c, every_h, *saved = _while(step, (2.0 * h, c, every_h, *saved), steps)
    every_h = every_h.stack()
    outputs = tf.transpose(every_h[1:], [1, 0, 2])
    return (outputs, 0.5 * h2, c), ((every_h, *(s.stack() for s in saved)) if save else ())


def adjoint(x, kernel, recurrent_kernel, saved, upstream, mask=None, keep_h=None, keep_c=None):
    """Gradients of x, h, c, kernel, recurrent_kernel and bias."""
    rows, steps, features = static_or_dynamic(x, 0), x.shape[1], x.shape[2]
    units = recurrent_kernel.shape[0]
    mask = None if mask is None else tf.transpose(mask)[..., None]
    step = _reversed_step(saved, upstream[0], recurrent_kernel, mask, keep_h, keep_c)
    every_h, kernel_t, size = saved[0], tf.transpose(kernel), units + features + 1

    def chunk(first, length, d_h, d_c, d_weights):
        """The steps first ... first + length - 1; also their gradient of x."""
        dzs = tf.TensorArray(x.dtype, length, element_shape=[x.shape[0], 4 * units])
        loop = (d_h, d_c, dzs)
        d_h, d_c, dzs = _while(lambda j, *s: step(first, j, *s), loop, length, reverse=True)
        dz = tf.reshape(dzs.stack(), [length * rows, 4 * units])
        entering = [
            tf.slice(every_h, [first, 0, 0], [length, rows, units]),
            tf.transpose(tf.slice(x, [0, first, 0], [rows, length, features]), [1, 0, 2]),
            tf.ones([length, rows, 1], x.dtype),
        ]
        entering = tf.reshape(tf.concat(entering, 2), [length * rows, size])
        d_weights += tf.matmul(entering, dz, transpose_a=True)
        return d_h, d_c, d_weights, tf.reshape(dz @ kernel_t, [length, rows, features])

    length = _chunk_length(steps)
    whole, rest = divmod(steps, length)
    state = (upstream[1], upstream[2], tf.zeros([size, 4 * units], x.dtype))
    last = []
    if rest:
        *state, d_x = chunk(steps - rest, rest, *state)
        last = [d_x]

    def one(q, d_h, d_c, d_weights, d_x):
        *state, part = chunk(q * length, length, d_h, d_c, d_weights)
        return (*state, d_x.write(q, part))

    d_x = tf.TensorArray(x.dtype, whole, element_shape=[length, x.shape[0], features])
    d_h, d_c, d_weights, d_x = _while(one, (*state, d_x), whole, reverse=True)
    d_x = tf.concat([tf.reshape(d_x.stack(), [whole * length, rows, features]), *last], 0)
    d_recurrent, d_kernel, d_bias = tf.split(d_weights, [units, features, 1], 0)
    return tf.transpose(d_x, [1, 0, 2]), d_h, d_c, d_kernel, d_recurrent, d_bias[0]


def _chunk_length(steps):
    """A divisor of T near 16, so that no shorter chunk is left over; else 16 (or T)."""
    fitting = [n for n in range(CHUNK // 2, LARGEST_CHUNK + 1) if steps % n == 0]
    return min(fitting, key=lambda n: abs(n - CHUNK), default=min(CHUNK, steps))


def _reversed_step(saved, d_outputs, recurrent_kernel, mask, keep_h, keep_c):
    """`step(first, j, d_h, d_c, dzs)`: from the end of time step first + j to its start."""
    _, gates, every_c = saved
    units, dtype = recurrent_kernel.shape[0], recurrent_kernel.dtype
    halves = tf.split(tf.transpose(recurrent_kernel), 2, 0)

    def recurrent_product(t, parts):
        def product():
            return parts[0] @ halves[0] + parts[1] @ halves[1]

        if keep_h is None:
            return product()
        return tf.cond(keep_h[t], product, lambda: tf.zeros_like(parts[0][:, :units]))

    def step(first, j, d_h, d_c, dzs):
        t = first + j
        i, f, g, o = (_row(gates, t, units, part) for part in range(4))
        entering_c, tanh_c = _row(every_c, t), tf.tanh(_row(every_c, t + 1))
        d_h += _batch_row(d_outputs, t)
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
        return new_d_h, new_d_c, dzs.write(j, tf.concat(parts, 1))

    return step
