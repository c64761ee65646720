"""The diagonal recurrence compiled by XLA, between matrix products that are not.

What XLA does better is the recurrence itself: it fuses a step into one pass over memory and reads
and writes `[B, T, 2N]` where it lies, so that nothing is moved into the layout of `_blocks` and
back. What it does worse are the products over all steps, so those stay outside. Every batch shard
is a chain of its own: TensorFlow runs the chains on different threads.

Time is cut into chunks that stay in a core's cache, chunks into blocks that advance together, as in
`_blocks`. Complex numbers are real pairs here: one array [re | im], or two arrays.
"""

import tensorflow as tf
from tensorflow.compiler.tf2xla.python.xla import dynamic_update_slice

from rnnzoo import _checks
from rnnzoo.recurrences import _blocks
from rnnzoo.recurrences._loops import shard_batch, shard_count

BLOCK = 32  # steps
CHUNK = 512

FORMS = ("auto", "xla", "adjoint", "autodiff")


def choose_form(form, *tensors, projected):
    """The form that runs: "auto" is "xla" in a graph of static shape on a CPU, else "adjoint".

    Between projections "auto" is "adjoint": measured, the compiled form is the slower there.
    """
    _checks.choice("form", form, FORMS)
    if form not in ("auto", "xla"):
        return form
    known = all(v.shape.is_fully_defined() for v in tensors)
    if form == "xla" and not known:
        raise ValueError(
            'With `form="xla"` every shape must be known when the graph is made. '
            f"Received: {[tuple(v.shape) for v in tensors]}"
        )
    possible = known and tensors[0].shape.num_elements() > 0 and _blocks.can_interleave()
    if form == "auto":
        possible = possible and not (
            projected
            or tf.executing_eagerly()
            or tf.config.list_logical_devices("GPU")
            or tf.distribute.get_strategy().num_replicas_in_sync > 1
        )
    return "xla" if possible else "adjoint"


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


def _update(array, value, start):
    return dynamic_update_slice(array, value, tf.stack(start))


def _cut(arrays, start, blocks, length):
    """Steps from `start` on, `[B, blocks, length, M]` each."""
    batch, _, size = arrays[0].shape
    return [
        tf.reshape(
            tf.slice(v, [0, start, 0], [batch, blocks * length, size]),
            [batch, blocks, length, size],
        )
        for v in arrays
    ]


def _paste(arrays, chunk, start):
    flat = [tf.reshape(c, [c.shape[0], -1, c.shape[3]]) for c in chunk]
    return [_update(v, c, [0, start, 0]) for v, c in zip(arrays, flat)]


def _row(chunk, step):
    """The complex numbers at one step of all blocks: two `[B, blocks, N]`."""
    batch, blocks, _, size = chunk[0].shape
    n = size * len(chunk) // 2
    places = [(v, 0) for v in chunk] if len(chunk) == 2 else [(chunk[0], 0), (chunk[0], n)]
    return tuple(
        tf.reshape(tf.slice(v, [0, 0, step, at], [batch, blocks, 1, n]), [batch, blocks, n])
        for v, at in places
    )


def _set_row(chunk, step, pair):
    pair = [v[:, :, None] for v in pair]
    if len(chunk) == 2:
        return [_update(v, p, [0, 0, step, 0]) for v, p in zip(chunk, pair)]
    first = _update(chunk[0], pair[0], [0, 0, step, 0])
    return [_update(first, pair[1], [0, 0, step, pair[0].shape[3]])]


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
    power = _blocks._power(tf.complex(*eigenvalue), length)
    power = tf.math.real(power), tf.math.imag(power)

    def carry(block, re, im, *found):
        found = [_update(f, v[:, None], [0, block, 0]) for f, v in zip(found, (re, im))]
        end = [tf.reshape(tf.slice(v, [0, block, 0], [batch, 1, n]), [batch, n]) for v in ends]
        return (*_plus(_times(power, (re, im)), end), *found)

    return _loop(carry, (*start, *zeros), blocks, reverse)[2:]


@tf.function(jit_compile=True, autograph=False, reduce_retracing=False)
def scan(inputs, initial, eigenvalue):
    """h_t = eigenvalue * h_{t-1} + inputs_t; states in arrays like `inputs`."""
    state, found = tuple(initial), [tf.zeros_like(v) for v in inputs]
    batch, n = initial[0].shape
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


@tf.function(jit_compile=True, autograph=False, reduce_retracing=False)
def reverse_scan(inputs, states, initial, eigenvalue, last, final):
    """The adjoint: g_t = conj(eigenvalue) * g_{t+1} + inputs_t, to which step `last` adds `final`.

    Returns `(g, initial_gradient, eigenvalue_gradient)`: g in arrays like `inputs`, two `[B, N]`,
    two `[N]`. `states` and `initial` are those of the forward scan.
    """
    batch, n = initial[0].shape
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


def _compiled(function, *arguments):
    # Out of any tape's sight, which would otherwise make and compile a gradient nobody asks for.
    return function(*tf.nest.map_structure(tf.stop_gradient, arguments))


def _product(x, w, transpose_a=False):
    if transpose_a:
        x, w = (tf.reshape(v, [-1, v.shape[-1]]) for v in (x, w))
        return tf.matmul(x, w, transpose_a=True)
    return tf.reshape(tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), w), [*x.shape[:2], w.shape[1]])


def _joined(parts):
    return list(parts[0]) if len(parts) == 1 else [tf.concat(v, 0) for v in zip(*parts)]


def _split(arguments, projected):
    """(sequences, initial, eigenvalue, projections): one sequence if projected, else two."""
    count = 1 if projected else 2
    sequences, rest = arguments[:count], arguments[count:]
    return sequences, rest[:2], rest[2:4], rest[4:]


def forward(arguments, last, projected):
    """((*outputs, final_re, final_im), states of each shard)."""
    sequences, initial, eigenvalue, projections = _split(arguments, projected)
    results, saved = [], []
    n = eigenvalue[0].shape[0]
    for *x, h_re, h_im, end in _shards([*sequences, *initial, last]):
        z = [_product(x[0], projections[0])] if projected else x
        states = _compiled(scan, z, [h_re, h_im], list(eigenvalue))
        ends = [tf.gather(v, tf.maximum(end, 0), axis=1, batch_dims=1) for v in states]
        ends = tf.split(ends[0], 2, axis=1) if len(ends) == 1 else ends
        final = [tf.where((end >= 0)[:, None], e, h) for e, h in zip(ends, (h_re, h_im))]
        outputs = [_product(states[0], projections[1])] if projected else states
        results.append([*outputs, *(tf.reshape(f, [-1, n]) for f in final)])
        saved.append(states)
    return tuple(_joined(results)), saved


def adjoint(arguments, saved, upstream, last, projected):
    """The gradients of all arguments, in their order."""
    sequences, initial, eigenvalue, projections = _split(arguments, projected)
    count = len(sequences)
    by_batch, summed = [], []
    given = [*sequences, *initial, last, *upstream]
    for states, part in zip(saved, _shards(given)):
        x, (h_re, h_im, end), dy = part[:count], part[count : count + 3], part[count + 3 :]
        e = [_product(dy[0], tf.transpose(projections[1]))] if projected else dy[:count]
        g, through, total = _compiled(
            reverse_scan, e, states, [h_re, h_im], list(eigenvalue), end, list(dy[-2:])
        )
        if not projected:
            by_batch.append([*g, *through])
            summed.append(total)
            continue
        by_batch.append([_product(g[0], tf.transpose(projections[0])), *through])
        b_gradient = _product(x[0], g[0], transpose_a=True)
        c_gradient = _product(states[0], dy[0], transpose_a=True)
        summed.append([*total, b_gradient, c_gradient])
    return [*_joined(by_batch), *(tf.add_n(v) for v in zip(*summed))]


def _shards(tensors):
    return shard_batch(tensors, shard_count(tensors[0].shape[0]))
