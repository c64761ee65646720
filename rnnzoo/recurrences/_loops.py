"""What every recurrence shares: the loop over time, the batch shards, the one-call adjoint."""

import functools

import tensorflow as tf

from rnnzoo import _keras, _machine

STEPS_PER_ITERATION = 4
MAX_SHARDS = 8
ROWS_PER_SHARD = 4
STATES_PER_SHARD = 128
LARGE_UNITS = 512


class SecondDerivativeError(LookupError):
    """A hand-written adjoint was differentiated; ``form="plain"`` is the way to do that."""


def static_or_dynamic(tensor, axis):
    """The size of `axis` as a Python integer where it is known, as a scalar tensor elsewhere."""
    size = tensor.shape[axis]
    return tf.shape(tensor)[axis] if size is None else size


def time_loop(step, state, steps, reverse=False, unroll=STEPS_PER_ITERATION):
    """Run ``state = step(t, *state)`` for every t in [0, steps), or from the last to the first.

    `unroll` steps share an iteration, because the cost of an iteration of `tf.while_loop` is of the
    order of one step's arithmetic; the remainder runs one step at a time. The loop can itself be
    differentiated, under XLA too (which is what the bound on the iterations is for).
    """
    time_of = (lambda j: steps - 1 - j) if reverse else (lambda j: j)

    def several(j, *state):
        for offset in range(unroll):
            state = step(time_of(j + offset), *state)
        return (j + unroll, *state)

    def single(j, *state):
        return (j + 1, *step(time_of(j), *state))

    loop = (tf.constant(0), *state)
    if unroll > 1 and not (isinstance(steps, int) and steps < unroll):
        loop = tf.while_loop(
            lambda j, *_: j <= steps - unroll,
            several,
            loop,
            parallel_iterations=1,
            maximum_iterations=steps // unroll,
        )
    if unroll == 1 or not (isinstance(steps, int) and steps % unroll == 0):
        loop = tf.while_loop(
            lambda j, *_: j < steps,
            single,
            loop,
            parallel_iterations=1,
            maximum_iterations=steps if unroll == 1 else unroll - 1,
        )
    return tuple(loop[1:])


def in_graph(function, options, tensors, dynamic):
    """Call `function(*options, *tensors)` in a graph, many times faster than step by step.

    Args:
        function: A module-level function; graphs are kept per function, options and shapes.
        options: Hashable Python values.
        tensors: Tensors or None.
        dynamic: For each tensor the axes whose size may differ between calls to one graph.
    """
    specs = []
    for tensor, axes in zip(tensors, dynamic):
        if tensor is None:
            specs.append(None)
            continue
        shape = [None if axis in axes else size for axis, size in enumerate(tensor.shape)]
        specs.append(tf.TensorSpec(shape, tensor.dtype))
    graph = _graph(function, options, tuple(specs))
    return graph(*[tensor for tensor in tensors if tensor is not None])


@functools.lru_cache(maxsize=256)
def _graph(function, options, specs):
    def call(*given):
        given = iter(given)
        return function(*options, *[None if spec is None else next(given) for spec in specs])

    signature = [spec for spec in specs if spec is not None]
    return tf.function(call, input_signature=signature, autograph=False)


def shard_count(batch, rows_per_shard=ROWS_PER_SHARD):
    """How many independent loops a batch is cut into: one a core, one on a GPU, no tiny ones.

    The cores are those that this process may use, which may be fewer than the machine has.
    `batch` is an integer, or None where it is not known when the graph is made. No shard of a
    known batch has fewer than `rows_per_shard` rows.
    """
    if tf.config.list_logical_devices("GPU"):
        return 1
    cores = tf.config.threading.get_inter_op_parallelism_threads() or len(_machine.available())
    most = MAX_SHARDS if batch is None else batch // rows_per_shard
    return max(1, min(cores, MAX_SHARDS, most))


def rows_per_shard(units):
    """The fewest rows worth a loop of their own, where a step multiplies by a `[H, n H]` matrix.

    A small state needs many rows for a step to be work at all. Above a few hundred units the matrix
    does not fit into a core's cache, and every shard reads it whole at each step.
    """
    return max(ROWS_PER_SHARD * (2 if units >= LARGE_UNITS else 1), -(-STATES_PER_SHARD // units))


def sharded(function, tensors, shards):
    """`function(*parts)` for each part of the batch, in independent loops; outputs put together.

    Args:
        function: Takes `tensors` cut along their leading axis, returns a tuple of tensors that
            have the batch as their leading axis.
        tensors: Tensors with a leading batch axis, or None. The first is never None.
        shards: Number of parts.
    """
    if shards == 1:
        return function(*tensors)
    parts = [function(*part) for part in shard_batch(tensors, shards)]
    results = [tf.concat(values, 0) for values in zip(*parts)]
    for result, part in zip(results, parts[0]):
        result.set_shape([tensors[0].shape[0], *part.shape[1:]])
    return tuple(results)


def shard_batch(tensors, shards):
    """Cut each tensor's leading axis into `shards` nearly equal parts; None stays None."""
    batch = static_or_dynamic(tensors[0], 0)
    bounds = [batch * i // shards for i in range(shards + 1)]
    return [
        [None if v is None else v[bounds[i] : bounds[i + 1]] for v in tensors]
        for i in range(shards)
    ]


def with_adjoint(forward, adjoint, arguments, name):
    """Call `forward` and give the result a hand-written gradient that may be taken once.

    Args:
        forward: `forward(*arguments) -> (outputs, saved)`, with `outputs` a tuple of tensors and
            `saved` whatever `adjoint` needs.
        adjoint: `adjoint(arguments, outputs, saved, upstream) -> gradients`, one per argument,
            None for an argument that has none.
        arguments: Tensors. Variables must have been read before.
        name: What a refused second derivative calls the recurrence.

    Raises:
        SecondDerivativeError: When the gradient is itself differentiated.
    """

    @tf.custom_gradient
    def call(*arguments):
        outputs, saved = forward(*arguments)

        def gradient(*upstream):
            @tf.custom_gradient
            def backward(*tensors):
                given, upstream = tensors[: len(arguments)], tensors[len(arguments) :]
                gradients = adjoint(given, outputs, saved, upstream)
                present = [g for g in gradients if g is not None]
                where = [g is not None for g in gradients]

                def refuse(*_):
                    return _refuse(name, tensors)

                backward.where = where
                return present, refuse

            present = iter(backward(*arguments, *upstream))
            return [next(present) if there else None for there in backward.where]

        return outputs, gradient

    return call(*arguments)


def _refuse(name, tensors):
    """Raise, or where TensorFlow builds a derivative that nobody may ask for, fail if it runs.

    Under nested eager tapes a `tf.function` traces the gradient of its gradient ahead of any use,
    in a graph of its own. Raising there would forbid nested tapes that take first derivatives only.
    """
    message = (
        f"The hand-written adjoint of {name} cannot be differentiated again. "
        'Pass form="plain" (an argument of the layer and of the recurrence, whose older name is '
        '"autodiff") for second derivatives.'
    )
    if not _keras.in_gradient_of_gradient():
        raise SecondDerivativeError(message)
    with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
        # XLA drops assertions: then the derivative is not a number, never a wrong number. The
        # shapes must not be read from `tensors`, which belong to another graph.
        return [
            tf.fill([n or 1 for n in t.shape], tf.constant(float("nan"), t.dtype))
            if t.dtype.is_floating
            else None
            for t in tensors
        ]
