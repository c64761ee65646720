"""What recurrences compiled by XLA share: rows, the loop over time, and its reversal in chunks.

Arguments are batch-major and read where they are, step by step; what is saved is time-major. T must
be known. Written for XLA on the CPU, and measured there.
"""

import tensorflow as tf

from rnnzoo.recurrences._loops import static_or_dynamic

CHUNK = 16  # steps whose input products, or weight gradients, are one product
LARGEST_CHUNK = 32
FEW_FEATURES = 32  # below it the inputs join the recurrent product of each step
FEW_ROWS = 8  # below it they do not: there a step's cost is its operations, and joining is one


def row(values, t, width=None, part=0):
    """values[t, :, part * width : (part + 1) * width] of `[T, B, n]`.

    Columns of a row that was read whole would be a slice of a slice, which XLA does not vectorise.
    """
    rows = static_or_dynamic(values, 1)
    width = values.shape[2] if width is None else width
    return tf.reshape(tf.slice(values, [t, 0, part * width], [1, rows, width]), [rows, width])


def batch_row(values, t):
    """values[:, t] of `[B, T, n]`."""
    rows, width = static_or_dynamic(values, 0), values.shape[2]
    return tf.reshape(tf.slice(values, [0, t, 0], [rows, 1, width]), [rows, width])


def array(like, width, length):
    """A TensorArray of `length` rows `[B, width]`, for the batch and dtype of `like [B, ...]`."""
    return tf.TensorArray(like.dtype, length, element_shape=[like.shape[0], width])


def loop(step, state, steps, reverse=False):
    """state = step(t, *state) for every t; under XLA no steps need to share an iteration."""
    time_of = (lambda j: steps - 1 - j) if reverse else (lambda j: j)
    end = tf.while_loop(
        lambda j, *_: j < steps,
        lambda j, *state: (j + 1, *step(time_of(j), *state)),
        (tf.constant(0), *state),
        maximum_iterations=steps,
    )
    return end[1:]


def forward_loop(step, state, x, kernel, recurrent_kernel, bias):
    """state = step(t, z, *state) for every t, where z(h) = x_t W + h U + b, `[B, n]`.

    Wide inputs, and those of few rows, are projected chunk by chunk, ahead of the chunk's steps, in
    products that are large and whose results stay in a core's cache.

    Args:
        step: as above.
        state: what goes round the loop.
        x: `[B, T, F]`. kernel: W. recurrent_kernel: U. bias: b.
    """
    rows, steps, features = static_or_dynamic(x, 0), x.shape[1], x.shape[2]
    if features < FEW_FEATURES and not (isinstance(rows, int) and rows < FEW_ROWS):
        stacked = tf.concat([recurrent_kernel, kernel, bias[None]], 0)
        one = tf.ones([rows, 1], x.dtype)

        def narrow(t, *state):
            x1 = [batch_row(x, t), one]
            return step(t, lambda h: tf.concat([h, *x1], 1) @ stacked, *state)

        return loop(narrow, state, steps)

    def chunk(first, length, *state):
        part = tf.transpose(tf.slice(x, [0, first, 0], [rows, length, features]), [1, 0, 2])
        part = tf.reshape(part, [length * rows, features]) @ kernel + bias
        projected = tf.reshape(part, [length, rows, kernel.shape[1]])

        def wide(j, *state):
            return step(first + j, lambda h: row(projected, j) + h @ recurrent_kernel, *state)

        return loop(wide, state, length)

    length = _chunk_length(steps)
    count, rest = divmod(steps, length)
    state = loop(lambda q, *state: chunk(q * length, length, *state), state, count)
    return chunk(steps - rest, rest, *state) if rest else state


def adjoint_loop(step, state, x, every_h, kernel):
    """Go back through time, and form the weight gradients on the way.

    Chunk by chunk, so that the gradients of all pre-activations z_t = x_t W + h_{t-1} U + b never
    exist at once; each chunk's share of the weight gradients is one product.

    Args:
        step: `step(t, *state) -> (*state, dz_t [B, n])`, from the end of step t to its start.
        state: the gradients of the final states.
        x: `[B, T, F]`. every_h: the states `[T + 1, B, H]` from the initial one on.
        kernel: W, `[F, n]`.

    Returns:
        `(state, d_x, d_kernel, d_recurrent_kernel, d_bias)`.
    """
    rows, steps, features = static_or_dynamic(x, 0), x.shape[1], x.shape[2]
    units, width, kernel_t = every_h.shape[2], kernel.shape[1], tf.transpose(kernel)
    size = units + features + 1

    def chunk(first, length, d_weights, *state):
        """The steps first ... first + length - 1, and their gradient of x."""

        def one(j, dzs, *state):
            *state, dz = step(first + j, *state)
            return (dzs.write(j, dz), *state)

        dzs, *state = loop(one, (array(x, width, length), *state), length, reverse=True)
        dz = tf.reshape(dzs.stack(), [length * rows, width])
        entering = [
            tf.slice(every_h, [first, 0, 0], [length, rows, units]),
            tf.transpose(tf.slice(x, [0, first, 0], [rows, length, features]), [1, 0, 2]),
            tf.ones([length, rows, 1], x.dtype),
        ]
        entering = tf.reshape(tf.concat(entering, 2), [length * rows, size])
        d_weights += tf.matmul(entering, dz, transpose_a=True)
        return tf.reshape(dz @ kernel_t, [length, rows, features]), d_weights, *state

    def whole_chunk(q, d_x, *state):
        part, *state = chunk(q * length, length, *state)
        return (d_x.write(q, part), *state)

    length = _chunk_length(steps)
    count, rest = divmod(steps, length)
    state, last = (tf.zeros([size, width], x.dtype), *state), []
    if rest:
        d_x, *state = chunk(steps - rest, rest, *state)
        last = [d_x]
    d_x = tf.TensorArray(x.dtype, count, element_shape=[length, x.shape[0], features])
    d_x, d_weights, *state = loop(whole_chunk, (d_x, *state), count, reverse=True)
    d_x = tf.concat([tf.reshape(d_x.stack(), [count * length, rows, features]), *last], 0)
    d_recurrent, d_kernel, d_bias = tf.split(d_weights, [units, features, 1], 0)
    return state, tf.transpose(d_x, [1, 0, 2]), d_kernel, d_recurrent, d_bias[0]


def _chunk_length(steps):
    """A divisor of T near 16, so that no shorter chunk is left over; else 16 (or T)."""
    fitting = [n for n in range(CHUNK // 2, LARGEST_CHUNK + 1) if steps % n == 0]
    return min(fitting, key=lambda n: abs(n - CHUNK), default=min(CHUNK, steps))
