"""The diagonal complex recurrence h_t = lambda * h_{t-1} + z_t, bare and between projections.

Complex numbers come and go as pairs of real tensors; inside, complex64 and complex128 do the work.
The adjoint of a diagonal linear recurrence is the same recurrence run backwards with the conjugate.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from rnnzoo.recurrences import _diagonal_loops, _diagonal_xla, _forms
from rnnzoo.recurrences._diagonal_arguments import (
    checked_packing,
    checked_projections,
    checked_state,
    expect,
)
from rnnzoo.recurrences._loops import shard_batch, shard_count, with_adjoint
from rnnzoo.recurrences._packing import pack, unpack


@tf.autograph.experimental.do_not_convert
def diagonal(
    inputs_re: tf.Tensor,
    inputs_im: tf.Tensor,
    initial_re: tf.Tensor,
    initial_im: tf.Tensor,
    lambda_re: tf.Tensor,
    lambda_im: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    form: str = "auto",
) -> tuple[tf.Tensor, ...]:
    """Run N independent complex linear recurrences over time.

    h_t = lambda * h_{t-1} + z_t, elementwise, with z = `inputs_re` + i `inputs_im`.

    Args:
        inputs_re, inputs_im: z, `[B, T, N]`, float32 or float64; T may be 0.
        initial_re, initial_im: h_{-1}, `[B, N]`.
        lambda_re, lambda_im: lambda, `[N]`; |lambda| <= 1 (beyond it, powers may overflow).
        mask: `[B, T]` bool or None; where False the step does not happen: the state is carried.
        form: `"xla"`, `"adjoint"` or `"plain"`, see `rnnzoo.recurrences`; `"auto"` (default)
            chooses. The first is the fastest and needs a known T, the second is differentiable
            once as it is, the third is slow and differentiable any number of times.

    Returns:
        `(states_re, states_im, final_re, final_im)`: `[B, T, N]` twice, then `[B, N]` twice. At a
        masked step the states repeat the carried state; without any real step they are the initial
        state.

    Raises:
        ValueError: For a wrong shape, dtype or `form`, before any computation.
        SecondDerivativeError: When the gradient of a hand-written adjoint is differentiated.

    Source: Martin, Cundy, "Parallelizing Linear Recurrent Neural Nets Over Sequence Length" (2018);
    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences" (2023).

    >>> import tensorflow as tf
    >>> one, zero = tf.ones([1, 3, 1]), tf.zeros([1, 3, 1])
    >>> re, im, _, _ = diagonal(one, zero, [[0.0]], [[0.0]], [0.0], [0.5])
    >>> re[0, :, 0].numpy().tolist(), im[0, :, 0].numpy().tolist()
    ([1.0, 1.0, 0.75], [0.0, 0.5, 0.5])
    """
    inputs_re = tf.convert_to_tensor(inputs_re)
    inputs_im = tf.convert_to_tensor(inputs_im, inputs_re.dtype)
    expect("inputs_im", inputs_im, inputs_re.shape)
    state = checked_state(inputs_re, initial_re, initial_im, lambda_re, lambda_im)
    expect("inputs_re", inputs_re, [None, None, state[2].shape[0]])
    packed = checked_packing(inputs_re, mask)
    z = [_packed(v, packed) for v in (inputs_re, inputs_im)]
    *states, final_re, final_im = _run(z, state, [], packed, form, "diagonal")
    if packed is not None:
        states = [unpack(v, packed, before=h[:, None]) for v, h in zip(states, state)]
    return (*states, final_re, final_im)


@tf.autograph.experimental.do_not_convert
def lru(
    inputs: tf.Tensor,
    initial_re: tf.Tensor,
    initial_im: tf.Tensor,
    lambda_re: tf.Tensor,
    lambda_im: tf.Tensor,
    b: tf.Tensor,
    c: tf.Tensor,
    d: tf.Tensor | None = None,
    *,
    mask: tf.Tensor | None = None,
    form: str = "auto",
) -> tuple[tf.Tensor, ...]:
    """Run the diagonal recurrence between its projections, without keeping both sides of them.

    h_t = lambda * h_{t-1} + x_t (b_re + i b_im),   y_t = re(h_t) c_1 + im(h_t) c_2 + d x_t

    Args:
        inputs: x, `[B, T, F]`, float32 or float64; T may be 0.
        initial_re, initial_im: h_{-1}, `[B, N]`.
        lambda_re, lambda_im: lambda, `[N]`; |lambda| <= 1 (beyond it, powers may overflow).
        b: `[F, 2N]`, [b_re | b_im] side by side.
        c: `[2N, U]`, c_1 above c_2; Re[C h] is c_1 = C_re transposed, c_2 = -C_im transposed.
        d: `[F]` (elementwise, where U = F), `[F, U]` (a product), or None (no skip).
        mask: `[B, T]` bool or None; where False the step does not happen: the state is carried.
        form: `"adjoint"` (hand-written, differentiable once), `"plain"` (slower, differentiable
            any number of times) or `"auto"` (default), the adjoint. There is no `"xla"`: compiled
            loops were slower between the projections.

    Returns:
        `(outputs [B, T, U], final_re [B, N], final_im [B, N])`. At a masked step the outputs repeat
        the last real step's, and are 0 before the first one.

    Raises:
        ValueError: For a wrong shape, dtype or `form`, before any computation.
        SecondDerivativeError: When the gradient of a hand-written adjoint is differentiated.

    Source: Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences" (2023).

    >>> import tensorflow as tf
    >>> y, re, im = lru(tf.ones([1, 3, 1]), [[0.0]], [[0.0]], [0.5], [0.0], [[1.0, 0.0]],
    ...                 [[2.0], [0.0]])
    >>> y[0, :, 0].numpy().tolist()
    [2.0, 3.0, 3.5]
    """
    inputs = tf.convert_to_tensor(inputs)
    state = checked_state(inputs, initial_re, initial_im, lambda_re, lambda_im)
    b, c, d = checked_projections(inputs, state[2].shape[0], b, c, d)
    packed = checked_packing(inputs, mask)
    x = _packed(inputs, packed)
    outputs, *final = _run([x], state, [b, c], packed, form, "lru")
    if d is not None:
        outputs += x * d if d.shape.rank == 1 else tf.tensordot(x, d, 1)
    if packed is not None:
        outputs = unpack(outputs, packed, before=tf.zeros_like(outputs[:, :1]))
    return (outputs, *final)


def _packed(inputs, packed):
    return inputs if packed is None else pack(inputs, packed)


def _run(sequences, state, projections, packed, form, name):
    """Outputs and final state of the unmasked recurrence; `packed` says where each row ends.

    TensorFlow runs the compiled loops of each batch shard on a thread of its own. Plain loops are
    not cut: their operations use several threads as it is.
    """
    form = _forms.choose(form, sequences[0], compiled_pays=not projections)
    count, batch = len(sequences), sequences[0].shape[0]
    in_turn = form not in _forms.COMPILED or tf.executing_eagerly()
    shards = 1 if in_turn else shard_count(batch, rows_per_shard=1)
    last = None if packed is None else packed.count - 1

    def parts(arguments, *more):
        """Each shard's sequences, initial state, eigenvalue, projections, last, and `more`."""
        fixed = arguments[count + 2 : count + 4], arguments[count + 4 :]
        for part in shard_batch([*arguments[: count + 2], last, *more], shards):
            yield part[:count], part[count : count + 2], *fixed, part[count + 2], part[count + 3 :]

    def forward(*arguments):
        results = [_FORWARD[form](*part[:-1]) for part in parts(arguments)]
        return tuple(_joined([outputs for outputs, _ in results])), [s for _, s in results]

    def adjoint(arguments, _, saved, upstream):
        shares = [
            _ADJOINT[form](*part, states, upstream)
            for states, (*part, upstream) in zip(saved, parts(arguments, *upstream))
        ]
        return [
            *_joined([share[: count + 2] for share in shares]),
            *(tf.add_n(v) for v in zip(*(share[count + 2 :] for share in shares))),
        ]

    arguments = [*sequences, *state, *projections]
    if form in _ADJOINT:
        return with_adjoint(forward, adjoint, arguments, name)
    return forward(*arguments)[0]


_FORWARD = {
    "xla": _diagonal_xla.forward,
    "xla_forward": _diagonal_xla.forward,
    "adjoint": functools.partial(_diagonal_loops.forward, differentiable=False),
    "plain": functools.partial(_diagonal_loops.forward, differentiable=True),
}
_ADJOINT = {"xla": _diagonal_xla.adjoint, "adjoint": _diagonal_loops.adjoint}


def _joined(parts):
    return list(parts[0]) if len(parts) == 1 else [tf.concat(v, 0) for v in zip(*parts)]
