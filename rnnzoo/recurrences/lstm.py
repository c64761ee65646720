"""The LSTM recurrence, whose gradient may be detached step by step.

    i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    z_t = x_t W + h_{t-1} U + b
    c_t = f * c_{t-1} + i * g          h_t = o * tanh(c_t)

i, f, g, o = input gate, forget gate, candidate, output gate, in this order in the weights, as in
`keras.layers.LSTM`. One tanh serves the four gates, with sigmoid(z) = (1 + tanh(z/2)) / 2 folded
into the weights; the state that goes round the loop is 2h for the same reason.

Sources: Hochreiter & Schmidhuber (1997); detaching: Arpit et al., *h-detach* (2018).
"""

from __future__ import annotations

import functools

import tensorflow as tf

from rnnzoo import _checks, _keras
from rnnzoo.recurrences import _arguments, _forms, _lstm_loops, _lstm_xla
from rnnzoo.recurrences._forms import compiled
from rnnzoo.recurrences._loops import in_graph, rows_per_shard, shard_count, sharded, with_adjoint


def lstm(
    inputs: tf.Tensor,
    initial_h: tf.Tensor,
    initial_c: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor | None = None,
    *,
    mask: tf.Tensor | None = None,
    keep_h: tf.Tensor | None = None,
    keep_c: tf.Tensor | None = None,
    form: str = "auto",
    shards: int | None = None,
) -> tuple[tf.Tensor, ...]:
    """Run an LSTM over a batch of sequences.

    Args:
        inputs: `[B, T, F]`, float32 or float64; every other tensor has the same dtype.
        initial_h, initial_c: `[B, H]`.
        kernel: `[F, 4H]`. recurrent_kernel: `[H, 4H]`. bias: `[4H]`, or None for zeros.
        mask: `[B, T]` bool or None; where False, h and c are carried over the step.
        keep_h, keep_c: `[T]` bool or None. Where False, the gradient through h_{t-1}
            (through c_{t-1}) into step t is cut; values do not change, and weight gradients still
            see the value of h_{t-1}.
        form: `"xla"`, `"adjoint"` or `"plain"`, see `rnnzoo.recurrences`; `"auto"` (default)
            chooses between the first two.
        shards: Number of independent loops over parts of the batch; None chooses.

    Returns:
        `(outputs [B, T, H], h [B, H], c [B, H])`: outputs at masked steps repeat the carried h.

    Raises:
        ValueError: For shapes or dtypes that do not fit.
        SecondDerivativeError: When the adjoint form is differentiated twice.
    """
    tensors = _arguments.checked(
        inputs,
        {"initial_h": initial_h, "initial_c": initial_c},
        kernel,
        recurrent_kernel,
        bias,
        gates=4,
    )
    optional = [_arguments.checked_mask(mask, tensors[0])]
    optional += [
        _arguments.checked_keep(n, v, tensors[0])
        for n, v in (("keep_h", keep_h), ("keep_c", keep_c))
    ]
    form = _forms.choose(form, tensors[0])
    _checks.optional_integer("shards", shards)
    if shards is None:
        shards = shard_count(tensors[0].shape[0], rows_per_shard(tensors[4].shape[0]))
    if tf.executing_eagerly():
        dynamic = _DYNAMIC_BATCH if form in _forms.COMPILED else _DYNAMIC
        return in_graph(_run, (form, shards), [*tensors, *optional], dynamic=dynamic)
    return _run(form, shards, *tensors, *optional)


# Which axes of an eager call's tensors may differ between calls to one graph: batch and time. XLA
# wants to know T.
_DYNAMIC = ((0, 1), (0,), (0,), (), (), (), (0, 1), (0,), (0,))
_DYNAMIC_BATCH = ((0,), (0,), (0,), (), (), (), (0,), (), ())


def _run(form, shards, inputs, h, c, kernel, recurrent_kernel, bias, mask, keep_h, keep_c):
    def shard(inputs, h, c, mask):
        arguments = (inputs, h, c, kernel, recurrent_kernel, bias)
        optional = {"mask": mask, "keep_h": keep_h, "keep_c": keep_c}
        given = {name: value for name, value in optional.items() if value is not None}
        if form == "plain":
            return _plain(arguments, **given)
        if form == "xla_forward":
            return _xla_forward(*arguments, mask)
        return _with_adjoint(form, arguments, given)

    return sharded(shard, [inputs, h, c, mask], shards)


def _plain(arguments, mask=None, **keeps):
    """One shard. A mask that masks nothing, as that of full-length requests, costs nothing.

    But under XLA, which cannot differentiate such a choice between loops.
    """

    def run(**mask):
        return _lstm_loops.forward(*arguments, **mask, **keeps, save=False)[0]

    if mask is None:
        return run()
    if _keras.under_xla():
        return run(mask=mask)
    return tf.cond(tf.reduce_all(mask), run, lambda: run(mask=mask))


def _with_adjoint(form, arguments, given):
    """One shard. `given` has the optional tensors that are there, by name."""
    if form == "xla":
        run_forward, run_adjoint = compiled(_lstm_xla.forward_saving), compiled(_lstm_xla.adjoint)
    else:
        run_forward = functools.partial(_lstm_loops.forward, save=True)
        run_adjoint = _lstm_loops.adjoint

    def forward(x, h, c, kernel, recurrent_kernel, bias, *rest):
        mask = dict(zip(given, rest)).get("mask")
        return run_forward(x, h, c, kernel, recurrent_kernel, bias, mask)

    def adjoint(arguments, outputs, saved, upstream):
        x, _, _, kernel, recurrent_kernel, _, *rest = arguments
        options = dict(zip(given, rest))
        gradients = run_adjoint(x, kernel, recurrent_kernel, saved, upstream, **options)
        return [*gradients, *([None] * len(rest))]

    return with_adjoint(forward, adjoint, [*arguments, *given.values()], "rnnzoo.recurrences.lstm")


def _xla_forward(*arguments):
    return compiled(_lstm_xla.forward)(*arguments)
