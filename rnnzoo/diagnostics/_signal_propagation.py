"""How large states, outputs and gradients are, layer by layer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks, _keras, graphs
from rnnzoo._figures import new_figure
from rnnzoo.diagnostics import _data
from rnnzoo.diagnostics._steps import Steps, probe, weighted_loss


class SignalPropagation(NamedTuple):
    """Mean squares: of states, of outputs, of the loss's gradients by outputs and by weights."""

    states: dict
    outputs: dict
    output_gradients: dict
    weight_gradients: dict

    def plot(self, axes=None, **options):
        """One panel each, on four `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(14, 3.4).subplots(1, 4)
        for one, name in zip(axes, self._fields):
            values = getattr(self, name)
            one.barh(list(values), list(values.values()), **options)
            one.set(xlabel=f"mean square of {name.replace('_', ' ')}", xscale="log")
            one.invert_yaxis()
        return axes[0].figure


def signal_propagation(
    model: keras.Model, data: Iterable, loss: str | Callable | None = None, batch_size: int = 32
) -> SignalPropagation:
    r"""The variances of a model's states and outputs, and of the loss's gradients by them.

    $$E[h^2],\qquad E[y^2],\qquad E\big[(\partial L/\partial y)^2\big],\qquad
      E\big[(\partial L/\partial w)^2\big]$$

    of the states h of each recurrent layer, the outputs y of the same layers, and each weight w of
    the model. Variances are about 0. L is the loss of a batch, the weighted mean over its steps,
    so gradients scale with the number of steps and rows in a batch: compare at the same sizes.
    Where signals stay of one size from layer to layer and for all time scales, training can begin.

    Args:
        model: A Functional or Sequential model with recurrent layers (`keras.layers.RNN` and its
            subclasses, not nested in other layers or models) that are given no initial state.
        data: `(x, y)` or `(x, y, weights)` of arrays, or an iterable of such batches.
        loss: None (the compiled loss) or a Keras loss or its name, with one value for each step.
        batch_size: Rows of the arrays that are run together.

    Masked steps are left out of states and outputs. Dropout and detaching are off.

    Returns:
        A `SignalPropagation` of dicts to floats: `states`, `outputs` and `output_gradients` by the
        names of the recurrent layers in the order of the graph, the means over entries, steps and
        rows; `weight_gradients` by the paths of the trainable weights, the means over entries and
        batches; `plot()`.

    Raises:
        ValueError, TypeError: For a model without recurrent layers, one that calls such a layer
            twice or gives it an initial state, and what `gradient_gap` refuses of losses, data
            and weights.

    Source: Zucchet & Orvieto, *Recurrent neural networks: vanishing and exploding gradients are
    not the end of the story* (2024), section 4.

    Example:

    >>> import keras, numpy as np
    >>> rnn = keras.layers.SimpleRNN(1, "linear", use_bias=False, name="rnn")
    >>> model = keras.Sequential([keras.Input((None, 1)), rnn])
    >>> model.set_weights([np.array([[2.0]]), np.array([[1.0]])])
    >>> x, y = np.ones([1, 2, 1], "float32"), np.zeros([1, 1], "float32")
    >>> found = signal_propagation(model, (x, y), "mse")  # h is 2, 4; L is 16
    >>> found.states, found.outputs, found.output_gradients
    ({'rnn': 10.0}, {'rnn': 16.0}, {'rnn': 64.0})
    """
    batch_size = _checks.integer("batch_size", batch_size)
    loss = _data.step_loss(model, loss)
    nodes = _nodes(model)
    every = [Steps(model, node) for node in nodes]
    runs = [tf.function(s.states, autograph=False, reduce_retracing=True) for s in every]
    gradients = _gradients(model, nodes, loss)
    names = [node.operation.name for node in nodes]
    forward, weights = _Means(), _Means()
    with _adjoints(model):
        for x, y, given in _data.batches(data, batch_size):
            for name, steps, run in zip(names, every, runs):
                inputs, present = steps.sequences(x)
                states = run(inputs, tf.constant(present)).numpy()
                forward.add(("states", name), states[present])
            outputs, slopes, by_weights = gradients(x, y, given)
            for name, steps, output, slope in zip(names, every, outputs, slopes):
                real = ... if output.ndim < 3 else _real(steps, x)
                forward.add(("outputs", name), output[real])
                forward.add(("gradients", name), slope[real])
            for variable, slope in zip(model.trainable_variables, by_weights):
                weights.add(variable.path, slope)
    parts = [{n: forward.mean((kind, n)) for n in names} for kind in _KINDS]
    return SignalPropagation(*parts, {path: weights.mean(path) for path in weights.sums})


_KINDS = ("states", "outputs", "gradients")


class _Means:
    """Mean squares by key, over all that is added."""

    def __init__(self):
        self.sums, self.counts = {}, {}

    def add(self, key, values):
        self.sums[key] = self.sums.get(key, 0.0) + float(np.sum(values.astype(np.float64) ** 2))
        self.counts[key] = self.counts.get(key, 0) + values.size

    def mean(self, key):
        return self.sums[key] / self.counts[key] if self.counts[key] else float("nan")


def _real(steps, x):
    """Which outputs `[B, T]` are of real steps, in the order in which the layer gives them."""
    return steps.sequences(x)[1].T


def _nodes(model):
    nodes = graphs.recurrent_calls(model)
    names = [node.operation.name for node in nodes]
    if not nodes:
        raise ValueError(
            f"`model` must have a recurrent layer. Received: {model.name!r}, which has none"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"`model` must call each recurrent layer once. Received: calls of {names}")
    return nodes


def _gradients(model, nodes, loss):
    """Function (x, y, weights) -> outputs of the nodes, dL/d of each, dL/d of each weight."""
    probed = probe(model, nodes)

    @tf.function(autograph=False, reduce_retracing=True)
    def gradients(x, y, weights):
        with tf.GradientTape() as tape:
            hidden, outputs = probed(x, training=False)
            total, counted = weighted_loss(loss, y, outputs, weights)
            mean = total / counted
        variables = [v.value for v in model.trainable_variables]
        by = tape.gradient(mean, [hidden, variables], unconnected_gradients="zero")
        return hidden, *([tf.convert_to_tensor(g) for g in part] for part in by)

    def as_arrays(x, y, weights):
        if weights is not None and not np.sum(weights):
            raise ValueError(
                "`data` must have weights that are not all 0 in any batch. "
                "Received: a batch whose weights sum to 0"
            )
        return tf.nest.map_structure(lambda v: v.numpy(), gradients(x, y, weights))

    return as_arrays


@contextlib.contextmanager
def _adjoints(model):
    """Let the layers take the gradient that is written by hand, as they do in training.

    They are called with `training=False`, where the rule of forms leaves it to TensorFlow.
    """
    changed = [layer for layer in _keras.flat_layers(model) if getattr(layer, "form", "") == "auto"]
    for layer in changed:
        layer.form = "adjoint"
    try:
        yield
    finally:
        for layer in changed:
            layer.form = "auto"
