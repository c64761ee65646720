"""The gradient of an LSTM, split into the path along its cell state and all other paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit

from rnnzoo import _checks
from rnnzoo._figures import new_figure
from rnnzoo.diagnostics import _data
from rnnzoo.diagnostics._steps import Steps, probe, the_recurrent_node, weighted_loss


class GradientPaths(NamedTuple):
    """Both parts of the gradient of each weight, and the norms of those of c over time."""

    linear: dict
    rest: dict
    linear_by_time: np.ndarray
    rest_by_time: np.ndarray

    def plot(self, axes=None, **options):
        """Both norms over time, on `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        for name in ("linear", "rest"):
            norms = getattr(self, f"{name}_by_time")
            shown = norms > 0
            axes.plot(np.flatnonzero(shown) + 1, norms[shown], label=name, **options)
        axes.set(xlabel="t", ylabel=r"mean norm of $\partial L/\partial c_t$", yscale="log")
        axes.legend()
        return axes.figure


def gradient_paths(
    model: keras.Model,
    data: Iterable,
    loss: str | Callable | None = None,
    layer: str | None = None,
    batch_size: int = 32,
) -> GradientPaths:
    r"""The parts of an LSTM's gradient that come along the cell state alone, and all others.

    The derivative of a step $(c_{t-1}, h_{t-1}) \to (c_t, h_t)$ is $A_t + B_t$:

    $$A_t = \begin{pmatrix} \mathrm{diag}(f_t) & 0\\
      \mathrm{diag}(o_t(1-\tanh^2 c_t)f_t) & 0\end{pmatrix},\qquad
      B_t = \begin{pmatrix} 0 & \partial c_t/\partial h_{t-1}\\
      0 & \partial h_t/\partial h_{t-1}\end{pmatrix}$$

    so $A_t$ is the step from $c_{t-1}$, linear in it but for the last tanh, and $B_t$ the one from
    $h_{t-1}$, through the gates. With $D_t$ the derivative of the step by the weights themselves,

    $$\frac{dL}{dw} = \sum_{t\ge s} \frac{\partial L}{\partial h_t}
      \Big[\underbrace{A_t A_{t-1}\cdots A_{s+1}}_{\text{linear}}
      + \underbrace{(A_t+B_t)\cdots(A_{s+1}+B_{s+1}) - A_t\cdots A_{s+1}}_{\text{rest}}\Big] D_s$$

    The rest is every product with at least one factor B. h-detach drops each $B_t$ with
    probability p, so with p = 1 the linear part is all that it leaves. $\partial L/\partial h_t$
    is that of all that follows the layer. Computed in float64; dropout and detaching are off.

    Args:
        model: A Functional or Sequential model with an LSTM: `keras.layers.LSTM` or `HDetachLSTM`,
            with tanh and sigmoid, that is given no initial state and returns none.
        data: `(x, y)` or `(x, y, weights)` of arrays, or an iterable of such batches. L is the
            weighted mean of the loss over all steps, as in `gradient_gap`.
        loss: None (the compiled loss) or a Keras loss or its name, with one value for each step.
        layer: The LSTM's name; None where the model has one.
        batch_size: Rows of the arrays that are run together.

    Masked steps carry state and gradient unchanged.

    Returns:
        A `GradientPaths`: dicts `linear` and `rest` from the names of the layer's weights to
        arrays of their shapes, whose sum is the gradient of L; `linear_by_time` and `rest_by_time`
        `[T]`, the mean over rows of the norms of the parts of dL/dc_t (L a sum of rows' shares),
        t in the order in which the layer reads; `plot()`.

    Raises:
        ValueError, TypeError: For an unknown layer, a layer that is no such LSTM, sequences of
            different lengths, and what `gradient_gap` refuses of losses and weights.

    Source: Arpit et al., *h-detach: Modifying the LSTM Gradient Towards Better Optimization* (ICLR
    2019), the decomposition behind algorithm 1 (its notation recalled, not confirmed).

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((None, 1)), keras.layers.LSTM(2)])
    >>> x, y = np.ones([3, 1, 1], "float32"), np.zeros([3, 2], "float32")
    >>> found = gradient_paths(model, (x, y), "mse")  # one step: no product has a factor B
    >>> found.linear["kernel"].shape, float(abs(found.rest["kernel"]).max())
    ((1, 8), 0.0)
    """
    batch_size = _checks.integer("batch_size", batch_size)
    loss = _data.step_loss(model, loss)
    node = the_recurrent_node(model, layer, keras.layers.LSTM, "LSTM")
    _check_lstm(node)
    steps = Steps(model, node)
    upstream = _upstream(model, node, loss)
    weights = [np.asarray(w, np.float64) for w in node.operation.get_weights()]
    total, rows, parts, norms = 0.0, 0, [0.0, 0.0], 0.0
    for x, y, given in _data.batches(data, batch_size):
        gradient, counted = upstream(x, y, given)
        inputs, present = steps.sequences(x)
        if np.ndim(norms) and norms.shape[1] != len(present):
            raise ValueError(
                "`data` must have sequences of one length. "
                f"Received: {norms.shape[1]} and {len(present)} steps"
            )
        found, by_time = _backward(inputs.numpy(), present, gradient, weights)
        parts = [part + new for part, new in zip(parts, found)]
        norms, total, rows = norms + by_time, total + counted, rows + present.shape[1]
    if not total:
        raise ValueError("`data` must have weights that are not all 0. Received: their sum is 0")
    linear, rest = (_named(part / total, node.operation) for part in parts)
    return GradientPaths(linear, rest, *(norms / total / rows))


def _check_lstm(node):
    layer = node.operation
    standard = (
        layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and not layer.zero_output_for_mask
        and not layer.stateful
        and len(node.output_tensors) == 1
    )
    if not standard:
        raise ValueError(
            "`layer` must be an LSTM with tanh and sigmoid, and without return_state, stateful and "
            f"zero_output_for_mask. Received: {layer.name!r}"
        )


def _upstream(model, node, loss):
    """Function (x, y, weights) -> (dL/dh at each step `[T, B, H]`, sum of weights)."""
    probed = probe(model, [node])

    def gradient(x, y, weights):
        with tf.GradientTape() as tape:
            (hidden,), outputs = probed(x, training=False)
            total, counted = weighted_loss(loss, y, outputs, weights)
        found = tape.gradient(total, hidden, unconnected_gradients="zero").numpy()
        return found.astype(np.float64), float(counted)

    return gradient


def _backward(inputs, present, upstream, weights):
    """The two parts of d(sum of losses)/d(weights), flat; summed norms over time `[2, T]`.

    Each part is the adjoint of (c, h) and what it gives the weights. What comes back through the
    gates to h_{t-1}, from either part, is the rest's.
    """
    recurrent = weights[1]
    saved = _forward(inputs, present, weights)
    rows, units = inputs.shape[1], recurrent.shape[0]
    c_adjoint, h_adjoint = np.zeros([2, 2, rows, units])
    gradients = np.zeros([2, inputs.shape[2] + units + 1, 4 * units])
    norms = np.zeros([2, len(inputs)])
    for t in reversed(range(len(inputs))):
        if upstream.ndim == 3:
            h_adjoint[0] += upstream[:, t]
        elif t == len(inputs) - 1:
            h_adjoint[0] += upstream
        h, c, c_new, i, f, g, o = saved[t]
        squashed, real = np.tanh(c_new), present[t][:, None]
        by_c = c_adjoint + h_adjoint * o * (1 - squashed**2)
        norms[:, t] = np.linalg.norm(by_c, axis=2).sum(1)
        by_z = [by_c * g * i * (1 - i), by_c * c * f * (1 - f), by_c * i * (1 - g**2)]
        by_z = np.concatenate([*by_z, h_adjoint * squashed * o * (1 - o)], axis=2) * real
        read = np.concatenate([inputs[t], h, np.ones([rows, 1])], axis=1)
        gradients += np.einsum("bi,pbj->pij", np.where(real, read, 0.0), by_z)
        by_h = by_z @ recurrent.T
        by_h = np.stack([np.zeros_like(by_h[0]), by_h.sum(0)])
        c_adjoint = np.where(real, by_c * f, c_adjoint)
        h_adjoint = np.where(real, by_h, h_adjoint)
    return gradients, norms


def _forward(inputs, present, weights):
    """(h, c before; c after; gates i, f, g, o) of each step, in float64."""
    kernel, recurrent, *bias = weights
    h, c = np.zeros([2, inputs.shape[1], recurrent.shape[0]])
    saved = []
    for x, real in zip(inputs.astype(np.float64), present[..., None]):
        z = np.where(real, x, 0.0) @ kernel + h @ recurrent + (bias[0] if bias else 0.0)
        i, f, g, o = np.split(z, 4, axis=1)
        i, f, g, o = expit(i), expit(f), np.tanh(g), expit(o)
        after = np.where(real, f * c + i * g, c)
        saved.append((h, c, after, i, f, g, o))
        h, c = np.where(real, o * np.tanh(after), h), after
    return saved


def _named(gradient, layer):
    """The rows of kernel, recurrent kernel and bias, by name."""
    units = layer.units
    parts = np.split(gradient, [len(gradient) - units - 1, len(gradient) - 1])
    named = dict(zip(("kernel", "recurrent_kernel", "bias"), parts))
    if not layer.use_bias:
        del named["bias"]
        return named
    return {**named, "bias": named["bias"][0]}
