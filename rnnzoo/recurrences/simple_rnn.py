"""The simple (Elman) recurrence.

    a_t = x_t W + h_{t-1} U + b        h_t = rho(a_t)

The input products of all steps are one product before the loop; the adjoint's loop computes only
the gradients of a_t, and every weight gradient is one product after it. The slopes rho'(a_t) are
computed for all steps at once before that loop, from the outputs where the activation allows it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.activations import facts, named, slopes_of_inputs
from rnnzoo.recurrences import _arguments, _forms, _rnn_xla
from rnnzoo.recurrences._forms import compiled
from rnnzoo.recurrences._loops import (
    in_graph,
    rows_per_shard,
    shard_count,
    sharded,
    static_or_dynamic,
    time_loop,
    with_adjoint,
)


def simple_rnn(
    inputs: tf.Tensor,
    initial_state: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor | None = None,
    *,
    activation: str | Callable = "tanh",
    mask: tf.Tensor | None = None,
    form: str = "auto",
    shards: int | None = None,
) -> tuple[tf.Tensor, ...]:
    """Run a simple RNN over a batch of sequences.

    Args:
        inputs: `[B, T, F]`, float32 or float64; every other tensor has the same dtype.
        initial_state: `[B, H]`.
        kernel: `[F, H]`. recurrent_kernel: `[H, H]`. bias: `[H]`, or None for zeros.
        activation: A Keras activation, its name, or any differentiable function of `[B, H]`.
        mask: `[B, T]` bool or None; where False, the state is carried over the step.
        form: `"xla"`, `"adjoint"` or `"plain"`, see `rnnzoo.recurrences`; `"auto"` (default)
            chooses: between the first two for tanh, linear, relu and sigmoid, the adjoint for other
            activations that are known to act on each unit alone, `"plain"` for any other.
        shards: Number of independent loops over parts of the batch; None chooses.

    Returns:
        `(outputs [B, T, H], state [B, H])`: outputs at masked steps repeat the carried state.

    Raises:
        ValueError: For shapes, dtypes or a form that do not fit.
        SecondDerivativeError: When the adjoint form is differentiated twice.

    Example:

    >>> import tensorflow as tf
    >>> from rnnzoo.recurrences.simple_rnn import simple_rnn
    >>> x, h = tf.ones([1, 3, 1]), tf.zeros([1, 1])
    >>> outputs, state = simple_rnn(x, h, tf.ones([1, 1]), 0.5 * tf.ones([1, 1]),
    ...                             activation="linear")
    >>> outputs[0, :, 0].numpy().tolist(), state.numpy().tolist()
    ([1.0, 1.5, 1.75], [[1.75]])
    """
    states = {"initial_state": initial_state}
    tensors = _arguments.checked(inputs, states, kernel, recurrent_kernel, bias)
    mask = _arguments.checked_mask(mask, tensors[0])
    activation = keras.activations.get(activation)
    form = _forms.choose(_offered(form, activation), tensors[0])
    _checks.optional_integer("shards", shards)
    if shards is None:
        shards = shard_count(tensors[0].shape[0], rows_per_shard(tensors[3].shape[0]))
    options = (form, activation, shards)
    if tf.executing_eagerly() and (form != "plain" or facts(activation).elementwise):
        dynamic = _DYNAMIC_BATCH if form in _forms.COMPILED else _DYNAMIC
        return in_graph(_run, options, [*tensors, mask], dynamic=dynamic)
    return _run(*options, *tensors, mask)


def _offered(form, activation):
    """`form`, unless the activation leaves no choice; the compiled one needs slopes of outputs."""
    form, known = _forms.current(form), facts(activation)
    needed = {"xla": known.slope_of_output is not None, "adjoint": known.elementwise}
    if not needed.get(form, True):
        names = ", ".join(named(lambda known: known.slope_of_output is not None))
        raise ValueError(
            '`form` must be "plain" or "auto" for an activation that is not known to act on '
            f'each unit alone, and may be "xla" for {names} only. '
            f"Received: form={form!r}, activation={activation!r}"
        )
    if form == "auto" and not needed["xla"]:
        return "adjoint" if needed["adjoint"] else "plain"
    return "plain" if form == "xla_forward" and not needed["xla"] else form


# Which axes of an eager call's tensors may differ between calls to one graph: batch and time.
_DYNAMIC = ((0, 1), (0,), (), (), (), (0, 1))
_DYNAMIC_BATCH = ((0,), (0,), (), (), (), (0,))


def _run(form, activation, shards, inputs, state, kernel, recurrent_kernel, bias, mask):
    run = _run_compiled if form in _forms.COMPILED else _run_loops
    return run(form, activation, shards, inputs, state, kernel, recurrent_kernel, bias, mask)


@functools.cache
def _compiled(activation):
    forward = functools.partial(_rnn_xla.forward, activation)
    adjoint = functools.partial(_rnn_xla.adjoint, facts(activation).slope_of_output)
    return compiled(forward), compiled(adjoint)


def _run_compiled(form, activation, shards, inputs, state, kernel, recurrent_kernel, bias, mask):
    run_forward, run_adjoint = _compiled(activation)

    def adjoint(arguments, _, every_h, upstream):
        x, _, kernel, recurrent_kernel, _, *mask = arguments
        gradients = run_adjoint(x, kernel, recurrent_kernel, every_h, upstream, *mask)
        return [*gradients, *(None for _ in mask)]

    def shard(inputs, state, mask):
        arguments = [inputs, state, kernel, recurrent_kernel, bias]
        arguments += [] if mask is None else [mask]
        if form == "xla_forward":
            return run_forward(*arguments)[0]
        return with_adjoint(run_forward, adjoint, arguments, "rnnzoo.recurrences.simple_rnn")

    return sharded(shard, [inputs, state, mask], shards)


def _run_loops(form, activation, shards, inputs, state, kernel, recurrent_kernel, bias, mask):
    """Project every step's input in one product, then run the loop on each part of the batch."""
    units, features = recurrent_kernel.shape[0], kernel.shape[0]
    batch, steps = static_or_dynamic(inputs, 0), static_or_dynamic(inputs, 1)
    projected = tf.reshape(inputs, [-1, features]) @ kernel + bias
    projected = tf.reshape(projected, [batch, steps, units])
    run = _adjoint_rnn if form == "adjoint" else _plain_rnn

    def shard(projected, state, mask):
        mask = None if mask is None else tf.transpose(mask)[..., None]
        projected = tf.transpose(projected, [1, 0, 2])
        outputs, state = run(projected, state, recurrent_kernel, mask, activation)
        return tf.transpose(outputs, [1, 0, 2]), state

    return sharded(shard, [projected, state, mask], shards)


def _plain_rnn(*arguments):
    every, state = _forward(*arguments)
    return every[1:], state


def _forward(projected, state, recurrent_kernel, mask, activation):
    """`projected [T, B, H]`, `mask [T, B, 1]` -> the states from the first on, and the last."""
    steps = static_or_dynamic(projected, 0)
    inputs = tf.TensorArray(projected.dtype, steps).unstack(projected)
    masks = None if mask is None else tf.TensorArray(tf.bool, steps).unstack(mask)

    def step(t, h, states):
        new_h = activation(inputs.read(t) + h @ recurrent_kernel)
        if masks is not None:
            new_h = tf.where(masks.read(t), new_h, h)
        return new_h, states.write(t + 1, new_h)

    # With the initial state the array is never empty, which TensorFlow cannot stack.
    states = tf.TensorArray(projected.dtype, steps + 1, element_shape=state.shape)
    state, states = time_loop(step, (state, states.write(0, state)), steps)
    return states.stack(), state


def _adjoint_rnn(projected, state, recurrent_kernel, mask, activation):
    def forward(projected, state, recurrent_kernel):
        every, state = _forward(projected, state, recurrent_kernel, mask, activation)
        return (every[1:], state), every

    def adjoint(arguments, outputs, saved, upstream):
        return _adjoint(*arguments, saved, *upstream, mask, activation)

    arguments = [projected, state, recurrent_kernel]
    return with_adjoint(forward, adjoint, arguments, "rnnzoo.recurrences.simple_rnn")


def _adjoint(projected, state, recurrent_kernel, every, d_outputs, d_state, mask, activation):
    steps, previous = static_or_dynamic(projected, 0), every[:-1]
    slopes = _slopes(activation, projected, previous, recurrent_kernel, every[1:])
    if mask is not None:
        slopes = tf.where(mask, slopes, tf.zeros_like(slopes))
    slope = tf.TensorArray(slopes.dtype, steps).unstack(slopes)
    upstream = tf.TensorArray(slopes.dtype, steps).unstack(d_outputs)
    transposed = tf.transpose(recurrent_kernel)

    def step(t, d_h, d_a):
        d_h += upstream.read(t)
        now = d_h * slope.read(t)
        new_d_h = now @ transposed
        if mask is not None:
            new_d_h = tf.where(mask[t], new_d_h, d_h)
        return new_d_h, d_a.write(t, now)

    d_a = tf.TensorArray(slopes.dtype, steps + 1, element_shape=state.shape)
    d_a = d_a.write(steps, tf.zeros_like(state))  # never empty
    d_h, d_a = time_loop(step, (d_state, d_a), steps, reverse=True)
    d_a = d_a.stack()[:-1]
    units = recurrent_kernel.shape[0]
    flat, previous = tf.reshape(d_a, [-1, units]), tf.reshape(previous, [-1, units])
    return d_a, d_h, tf.matmul(previous, flat, transpose_a=True)


def _slopes(activation, projected, previous, recurrent_kernel, outputs):
    """rho'(a_t) of every step; masked steps hold values that the caller replaces."""
    of_output = facts(activation).slope_of_output
    if of_output is not None:
        return of_output(outputs)
    return slopes_of_inputs(activation, projected + tf.tensordot(previous, recurrent_kernel, 1))
