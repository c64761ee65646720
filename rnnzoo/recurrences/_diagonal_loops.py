"""The diagonal recurrence in plain TensorFlow loops, bare or between projections, and its adjoint.

Each function takes one batch shard. Between the input's and the output's matrix everything is in
the layout of `_blocks`: of both sides of a projection it is the narrower that is moved there.
"""

import tensorflow as tf

from rnnzoo.recurrences import _blocks


def forward(sequences, initial, eigenvalue, projections, last, differentiable):
    """((*outputs, final_re, final_im), states).

    Args:
        sequences: the inputs `[B, T, F]`, or without projections z as two `[B, T, N]`.
        initial, eigenvalue: complex numbers as pairs, `[B, N]` and `[N]`.
        projections: `b` and `c`, or nothing.
        last: where each row's last step is, `[B]`, -1 if it has none; None: T - 1 everywhere.
        differentiable: whether TensorFlow must be able to differentiate this.
    """
    interleave = _blocks.can_interleave() and not differentiable
    cut = _blocks.plan(sequences[0], eigenvalue[0].shape[0])
    start = tf.complex(*initial)
    if projections:
        z = _blocks.read_in(_blocks.to_blocks(sequences[0], cut), projections[0], interleave)
    else:
        z = _blocks.to_blocks(tf.complex(*sequences), cut)
    states = _blocks.scan(tf.complex(*eigenvalue), z, start, cut, differentiable)
    last = _ends(last, cut)
    final = tf.gather_nd(states, _blocks.position(tf.maximum(last, 0), cut))
    final = tf.where(last[:, None] >= 0, final, start)
    if projections:
        outputs = [_blocks.from_blocks(_blocks.read_out(states, projections[1], interleave), cut)]
    else:
        outputs = _parts(_blocks.from_blocks(states, cut))
    return (*outputs, *_parts(final)), states


def adjoint(sequences, initial, eigenvalue, projections, last, states, upstream):
    """The gradients of the sequences, the initial state, the eigenvalues and the projections.

    g_t = dL/dRe h_t - i dL/dIm h_t, the conjugate gradient, obeys the forward equation backwards.
    """
    interleave = _blocks.can_interleave()
    n = eigenvalue[0].shape[0]
    cut = _blocks.plan(sequences[0], n)
    signs = tf.repeat(tf.constant([1.0, -1.0], initial[0].dtype), n)  # [re | im] -> [re | -im]
    if projections:
        outputs_gradient = _blocks.to_blocks(upstream[0], cut)
        e = _blocks.read_in(outputs_gradient, tf.transpose(projections[1]) * signs, interleave)
    else:
        e = _blocks.to_blocks(tf.complex(upstream[0], -upstream[1]), cut)
    final = tf.complex(upstream[-2], -upstream[-1])
    e, after, never = _enter(e, final, last, cut)
    g, before, total = _blocks.reverse_scan(
        tf.complex(*eigenvalue), e, after, states, tf.complex(*initial), cut
    )
    gradients = [*_conjugate_parts(before + never), *_conjugate_parts(total)]
    if not projections:
        return [*_conjugate_parts(_blocks.from_blocks(g, cut)), *gradients]
    inputs_gradient = _blocks.read_out(g, tf.transpose(projections[0] * signs), interleave)
    b_gradient = _blocks.outer(_blocks.to_blocks(sequences[0], cut), g, interleave) * signs
    c_gradient = tf.transpose(_blocks.outer(outputs_gradient, states, interleave))
    return [_blocks.from_blocks(inputs_gradient, cut), *gradients, b_gradient, c_gradient]


def _ends(last, cut):
    return tf.fill([cut.batch], cut.time - 1) if last is None else last


def _enter(e, final, last, cut):
    """Where the final state's gradient enters: (e, what comes after all steps, before them)."""
    nothing = tf.zeros_like(final)
    if last is None and cut.is_full:
        return e, final, nothing
    last = _ends(last, cut)
    ended = last[:, None] >= 0
    where = _blocks.position(tf.maximum(last, 0), cut)
    e = tf.tensor_scatter_nd_add(e, where, tf.where(ended, final, nothing))
    return e, nothing, tf.where(ended, nothing, final)


def _parts(z):
    return [tf.math.real(z), tf.math.imag(z)]


def _conjugate_parts(z):
    return [tf.math.real(z), -tf.math.imag(z)]
