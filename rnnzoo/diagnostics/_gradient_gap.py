"""How much of the gradient is lost when it is truncated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks, _keras
from rnnzoo._figures import new_figure
from rnnzoo.diagnostics import _data
from rnnzoo.graphs import functional_of, is_recurrence
from rnnzoo.layers.truncated_wrapper import TruncatedWrapper


class GradientGap(NamedTuple):
    """For each k the distance of the truncated gradient from the full one, whose norm is `norm`."""

    k: np.ndarray
    absolute: np.ndarray
    relative: np.ndarray
    norm: float

    def plot(self, axes=None, **options):
        """The relative gap against k, on `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        axes.semilogy(self.k, self.relative, **{"marker": ".", **options})
        axes.set(xlabel="k", ylabel="relative gradient gap")
        return axes.figure


def gradient_gap(
    model: keras.Model,
    data: Iterable,
    k: int | Sequence[int],
    loss: str | Callable | None = None,
    mode: str = "gradient",
    batch_size: int = 32,
) -> GradientGap:
    r"""The distance between the gradient of a data set's loss and the one truncated to k steps.

    $$\delta_k = \big\| \nabla_w L(w) - \nabla_w L^k(w) \big\|_2,\qquad
      L = \frac{\sum_{n,t} a_{nt}\, \ell_{nt}}{\sum_{n,t} a_{nt}}$$

    over all trainable weights together, with the weights $a$ of `data`, or ones. The truncated
    model is the model with every recurrent layer in a `TruncatedWrapper(layer, k, mode)`; it is a
    copy, `model` stays as it is. Dropout and detaching are off.

    Args:
        model: A Functional or Sequential model with recurrent layers, also in nested models, but
            not inside other layers (`Bidirectional`).
        data: `(x, y)` or `(x, y, weights)` of arrays, or an iterable of such batches. Weights
            `[B, T]` (`[B]` for a model whose output has no time axis).
        k: An integer of at least 1, or a list of them.
        loss: None (the compiled loss) or a Keras loss or its name, with one value for each step.
        mode: `"gradient"` (default): the model's own values, and a gradient that reaches back k
            steps. `"window"`: the feed-forward model of the last k steps, that of the paper.
        batch_size: Rows of the arrays that are run together. `TruncatedWrapper` tells what a batch
            costs.

    Returns:
        A `GradientGap` with arrays `k`, `absolute`, `relative` (to `norm`), the float `norm` of
        the full gradient, and `plot()`.

    Raises:
        ValueError, TypeError: For a `k` or `mode` out of range, a loss that is missing or not per
            step, a model without recurrent layers or of an unknown graph, data without batches or
            weights, and layers that `TruncatedWrapper` refuses.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), lemma 2.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((None, 1)), keras.layers.SimpleRNN(3)])
    >>> x, y = np.ones([4, 6, 1], "float32"), np.zeros([4, 3], "float32")
    >>> gap = gradient_gap(model, (x, y), [1, 3, 6], loss="mse")
    >>> bool(gap.relative[0] > gap.relative[2]), bool(gap.relative[2] < 1e-6)
    (True, True)
    """
    ks = [_checks.integer("k", one) for one in ([k] if np.ndim(k) == 0 else k)]
    if not ks:
        raise ValueError(f"`k` must hold at least one integer. Received: k={k!r}")
    batch_size = _checks.integer("batch_size", batch_size)
    loss = _data.step_loss(model, loss)
    if not _recurrent_layers(model):
        raise ValueError(
            f"`model` must have a recurrent layer. Received: {model.name!r}, which has none"
        )
    models = [model, *(_truncated(model, one, mode) for one in ks)]
    gradients = [_gradient_function(one, loss) for one in models]
    totals, weight = [0.0] * len(models), 0.0
    for x, y, weights in _data.batches(data, batch_size):
        for i, gradient in enumerate(gradients):
            found, counted = gradient(x, y, weights)
            totals[i] = totals[i] + found.numpy()
        weight += float(counted)
    if not weight:
        raise ValueError("`data` must have weights that are not all 0. Received: their sum is 0")
    full, *rest = (total / weight for total in totals)
    absolute = np.array([np.linalg.norm(full - one) for one in rest])
    norm = float(np.linalg.norm(full))
    with np.errstate(divide="ignore", invalid="ignore"):
        return GradientGap(np.array(ks), absolute, absolute / norm, norm)


def _recurrent_layers(model):
    """Those to truncate, in nested models too; one inside another layer would stay as it is."""
    found = []
    for layer in functional_of(model).layers:
        if is_recurrence(layer):
            found.append(layer)
        elif isinstance(layer, keras.Model):
            found += _recurrent_layers(layer)
        elif any(is_recurrence(inner) for inner in _keras.flat_layers(layer)):
            raise ValueError(
                "`model` must not have recurrent layers inside other layers, where they cannot be "
                f"truncated. Received: {layer.name!r}, a {type(layer).__name__}"
            )
    return found


def _truncated(model, k, mode):
    """A copy of the model whose recurrent layers are truncated, with the same weights."""

    def clone(layer):
        copy = layer.__class__.from_config(layer.get_config())
        if is_recurrence(layer):
            return TruncatedWrapper(copy, k, mode, name=layer.name)
        return copy

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    functional_of(copy)
    copy.set_weights(model.get_weights())
    for one, other in zip(copy.weights, model.weights):
        one.trainable = other.trainable
    return copy


def _gradient_function(model, loss):
    """Function `(x, y, weights) -> (gradient of the weighted sum of losses, sum of weights)`."""

    def gradient(x, y, weights):
        with tf.GradientTape() as tape:
            outputs = model(x, training=False)
            if len(keras.tree.flatten(outputs)) > 1:
                raise ValueError(
                    f"`model` must have one output, that of the loss. Received: {model.name!r}"
                )
            outputs = keras.tree.flatten(outputs)[0]
            steps = min(2, outputs.shape.rank - 1)
            y = _data.check_targets(y, outputs.shape[:steps])
            losses = _data.check_steps(loss(y, outputs), outputs.shape[:steps])
            weights = tf.ones_like(losses) if weights is None else tf.cast(weights, losses.dtype)
            if not weights.shape.is_compatible_with(losses.shape):
                raise ValueError(
                    f"The weights in `data` must have the shape {tuple(losses.shape)}. "
                    f"Received: shape {tuple(weights.shape)}"
                )
            total = tf.reduce_sum(weights * losses)
        variables = [v.value for v in model.trainable_variables]
        parts = tape.gradient(total, variables, unconnected_gradients="zero")
        flat = [tf.reshape(tf.cast(tf.convert_to_tensor(p), tf.float64), [-1]) for p in parts]
        return tf.concat(flat, 0), tf.reduce_sum(tf.cast(weights, tf.float64))

    return tf.function(gradient, autograph=False, reduce_retracing=True)
