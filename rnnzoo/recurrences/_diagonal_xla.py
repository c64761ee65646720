"""The bare diagonal recurrence compiled by XLA.

XLA fuses a step into one pass over memory, and reads and writes `[B, T, N]` where it lies, so that
nothing is moved into the layout of `_blocks` and back. Between projections this does not pay: there
the layout of `_blocks` comes with the products.

Time is cut into chunks that stay in a core's cache, chunks into blocks that advance together, as in
`_blocks`. T must be known, the batch need not be. Complex numbers are pairs of real arrays here.
"""

import tensorflow as tf

# Nothing public does this: TensorStridedSliceUpdate asks XLA for a constant place, and a
# TensorArray would have to be transposed as a whole.
from rnnzoo import _keras
from rnnzoo.recurrences import _blocks
from rnnzoo.recurrences._forms import compiled
from rnnzoo.recurrences._loops import static_or_dynamic

BLOCK = 32  # steps
CHUNK = 512


def _pieces(time):
    """(first step, chunks, blocks in a chunk, steps in a block) that together cover `time`."""
    chunks, rest = divmod(time, CHUNK)
    blocks, tail = divmod(rest, BLOCK)
    pieces = [
        (0, chunks, CHUNK // BLOCK, BLOCK),
        (chunks * CHUNK, 1, blocks, BLOCK),
        (time - tail, 1, 1, tail),
    ]
    return [piece for piece in pieces if all(piece[1:])]


def _loop(step, state, count, reverse=False):
    def body(j, *state):
        return (j + 1, *step(count - 1 - j if reverse else j, *state))

    start = (tf.constant(0), *state)
    return tf.while_loop(lambda j, *_: j < count, body, start, maximum_iterations=count)[1:]


def _times(a, b):
    """The product of two complex numbers as pairs."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _plus(a, b):
    return a[0] + b[0], a[1] + b[1]


def _update(array, value, axis, start):
    """`array` with `value` from `start` on along `axis`; XLA writes it in place."""
    starts = [start if i == axis else 0 for i in range(array.shape.rank)]
    return _keras.dynamic_update_slice(array, value, tf.stack(starts))


def _cut(arrays, start, blocks, length):
    """Steps from `start` on, `[B, blocks, length, N]` each."""
    batch, n = static_or_dynamic(arrays[0], 0), arrays[0].shape[2]
    return [
        tf.reshape(
            tf.slice(v, [0, start, 0], [batch, blocks * length, n]), [batch, blocks, length, n]
        )
        for v in arrays
    ]


def _paste(arrays, chunk, start):
    _, blocks, length, n = chunk[0].shape
    flat = [tf.reshape(c, [-1, blocks * length, n]) for c in chunk]
    return [_update(v, c, 1, start) for v, c in zip(arrays, flat)]


def _row(chunk, step):
    """The complex numbers at one step of all blocks: two `[B, blocks, N]`."""
    batch, (_, blocks, _, n) = static_or_dynamic(chunk[0], 0), chunk[0].shape
    return tuple(
        tf.reshape(tf.slice(v, [0, 0, step, 0], [batch, blocks, 1, n]), [batch, blocks, n])
        for v in chunk
    )


def _set_row(chunk, step, pair):
    return [_update(v, p[:, :, None], 2, step) for v, p in zip(chunk, pair)]


def _block_starts(read, shape, eigenvalue, start, reverse=False):
    """The state with which each block of a chunk starts, two `[B, blocks, N]`.

    `read(step)` gives the inputs of all blocks; `start` is the state, two `[B, N]`, before the
    chunk (after it, in reverse).
    """
    batch, blocks, length, n = shape
    if blocks == 1:
        return tuple(v[:, None] for v in start)
    zeros = (tf.zeros([batch, blocks, n], start[0].dtype),) * 2

    def advance(step, *state):
        return _plus(_times(eigenvalue, state), read(step))

    ends = _loop(advance, zeros, length, reverse)
    power = _blocks.power(tf.complex(*eigenvalue), length)
    power = tf.math.real(power), tf.math.imag(power)

    def carry(block, re, im, *found):
        found = [_update(f, v[:, None], 1, block) for f, v in zip(found, (re, im))]
        end = [tf.reshape(tf.slice(v, [0, block, 0], [batch, 1, n]), [batch, n]) for v in ends]
        return (*_plus(_times(power, (re, im)), end), *found)

    return _loop(carry, (*start, *zeros), blocks, reverse)[2:]


def scan(inputs, initial, eigenvalue):
    """h_t = eigenvalue * h_{t-1} + inputs_t; states in arrays like `inputs`."""
    state, found = tuple(initial), [tf.zeros_like(v) for v in inputs]
    batch, n = static_or_dynamic(initial[0], 0), initial[0].shape[1]
    for first, chunks, blocks, length in _pieces(inputs[0].shape[1]):

        def chunk(q, re, im, *found, piece=(first, blocks, length)):
            first, blocks, length = piece
            at = first + q * (blocks * length)
            z = _cut(inputs, at, blocks, length)
            starts = _block_starts(
                lambda step: _row(z, step), (batch, blocks, length, n), eigenvalue, (re, im)
            )

            def step(t, re, im, *z):
                state = _plus(_times(eigenvalue, (re, im)), _row(z, t))
                return (*state, *_set_row(z, t, state))

            re, im, *states = _loop(step, (*starts, *z), length)
            return (re[:, -1], im[:, -1], *_paste(found, states, at))

        loop = _loop(chunk, (*state, *found), chunks)
        state, found = loop[:2], loop[2:]
    return found


def reverse_scan(inputs, states, initial, eigenvalue, last, final):
    """The adjoint: g_t = conj(eigenvalue) * g_{t+1} + inputs_t, to which step `last` adds `final`.

    Returns `(g, initial_gradient, eigenvalue_gradient)`: g in arrays like `inputs`, two `[B, N]`,
    two `[N]`. `states` and `initial` are those of the forward scan.
    """
    batch, n = static_or_dynamic(initial[0], 0), initial[0].shape[1]
    conjugate = eigenvalue[0], -eigenvalue[1]
    nothing = tf.zeros_like(initial[0])
    state, total = (nothing,) * 2, (tf.zeros([n], nothing.dtype),) * 2
    found = [tf.zeros_like(v) for v in inputs]
    for first, chunks, blocks, length in reversed(_pieces(inputs[0].shape[1])):

        def chunk(q, *loop, piece=(first, blocks, length)):
            first, blocks, length = piece
            state, total, found = loop[:2], loop[2:4], loop[4:]
            at = first + q * (blocks * length)
            e, h = (_cut(v, at, blocks, length) for v in (inputs, states))
            begins = at + length * tf.range(blocks)

            def read(e, step):
                here = (begins[None] + step == last[:, None])[..., None]
                more = [tf.where(here, v[:, None], tf.zeros_like(v[:, None])) for v in final]
                return _plus(_row(e, step), more)

            shape = (batch, blocks, length, n)
            starts = _block_starts(lambda t: read(e, t), shape, conjugate, state, reverse=True)

            def step(t, g_re, g_im, sum_re, sum_im, *e):
                g = g_re, g_im = _plus(_times(conjugate, (g_re, g_im)), read(e, t + 1))
                re, im = _row(h, t)
                sum_re, sum_im = sum_re + g_re * re + g_im * im, sum_im + g_im * re - g_re * im
                return (g_re, g_im, sum_re, sum_im, *_set_row(e, t + 1, g))

            sums = (tf.zeros_like(starts[0]),) * 2
            g_re, g_im, *sums_e = _loop(step, (*starts, *sums, *e), length - 1, reverse=True)
            sums, e = sums_e[:2], sums_e[2:]
            g_re, g_im = _plus(_times(conjugate, (g_re, g_im)), read(e, 0))
            re, im = _before(h, states, initial, at)
            sums = sums[0] + g_re * re + g_im * im, sums[1] + g_im * re - g_re * im
            total = [t + tf.reduce_sum(s, [0, 1]) for t, s in zip(total, sums)]
            found = _paste(found, _set_row(e, 0, (g_re, g_im)), at)
            return (g_re[:, 0], g_im[:, 0], *total, *found)

        loop = _loop(chunk, (*state, *total, *found), chunks, reverse=True)
        state, total, found = loop[:2], loop[2:4], loop[4:]
    never = (last < 0)[:, None]
    through = _times(conjugate, state)
    through = [v + tf.where(never, f, tf.zeros_like(f)) for v, f in zip(through, final)]
    return list(found), through, list(total)


def _before(chunk, states, initial, at):
    """The state before each block of the chunk that starts at step `at`."""
    ends = [v[:, :-1] for v in _row(chunk, chunk[0].shape[2] - 1)]
    step = [v[:, 0] for v in _row(_cut(states, tf.maximum(at - 1, 0), 1, 1), 0)]
    start = [tf.where(at > 0, v, i) for v, i in zip(step, initial)]
    return [tf.concat([s[:, None], e], axis=1) for s, e in zip(start, ends)]


def forward(sequences, initial, eigenvalue, projections, last):
    """((states_re, states_im, final_re, final_im), states) of one batch shard.

    `last [B]` is where each row's last step is, -1 if it has none; None: T - 1 everywhere.
    """
    states = _compiled(scan, sequences, initial, eigenvalue)
    if last is None:
        final = [v[:, -1] for v in states]
    else:
        ends = [tf.gather(v, tf.maximum(last, 0), axis=1, batch_dims=1) for v in states]
        final = [tf.where((last >= 0)[:, None], e, h) for e, h in zip(ends, initial)]
    return (*states, *final), states


def adjoint(sequences, initial, eigenvalue, projections, last, states, upstream):
    """The gradients of the sequences, the initial state and the eigenvalues."""
    if last is None:
        last = tf.fill([static_or_dynamic(sequences[0], 0)], sequences[0].shape[1] - 1)
    e, final = upstream[:2], upstream[2:]
    g, through, total = _compiled(reverse_scan, e, states, initial, eigenvalue, last, final)
    return [*g, *through, *total]


def _compiled(function, *arguments):
    # Out of any tape's sight, which would otherwise make and compile a gradient nobody asks for.
    return compiled(function)(*tf.nest.map_structure(tf.stop_gradient, arguments))
