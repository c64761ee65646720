"""How far back the gradient of a loss reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks, _keras, graphs
from rnnzoo._figures import new_figure
from rnnzoo.diagnostics import _data
from rnnzoo.streaming import explicit_state


class GradientOverDistance(NamedTuple):
    """The mean norm of the gradient at each distance, and the weight of the pairs behind it."""

    distance: np.ndarray
    mean: np.ndarray
    pairs: np.ndarray

    def plot(self, axes=None, **options):
        """The means against distance, on `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        shown = self.mean > 0
        axes.semilogy(self.distance[shown], self.mean[shown], **options)
        axes.set(xlabel="distance i", ylabel="mean gradient norm of loss t+i at input t")
        return axes.figure


def gradient_over_distance(
    model: keras.Model,
    data: Iterable,
    max_distance: int = 64,
    loss: str | Callable | None = None,
    layer: str | None = None,
    block: int | None = None,
    batch_size: int = 16,
    time_local: Sequence[str | type] = (),
) -> GradientOverDistance:
    r"""The mean over a data set of the norm of a loss's gradient at an input, by their distance.

    $$g_i = \operatorname{mean}_{t} \left\| \partial \ell_{t+i} / \partial x_t \right\|_2,
      \qquad i = 0, \dots, D$$

    Exact, for every pair of times in the data, with one backward pass for a block of M loss times:
    the window that ends with the block, D + M steps long, is run in M copies side by side, each
    with one of the losses, from the state that the whole sequence has where the window begins. So
    no loss leaks into another's gradient, and nothing before the window matters to it. A sequence
    of T steps costs T (D + M) steps of its batch, forward and backward, and no pass per pair; M
    copies of D + M steps are held at once. Dropout and detaching are off.

    Args:
        model: A Functional or Sequential model that `explicit_state` takes. If its output has no
            time axis, its one loss is that of the last step. Of several inputs the first is x.
        data: `(x, y)` or `(x, y, weights)` of arrays, or an iterable of such batches, for example
            a `tf.data.Dataset`. Weights `[B, T]` (`[B]` without time) weigh the pairs of a loss in
            the mean; 0 leaves them out, as padded steps should be.
        max_distance: D, an integer of at least 0.
        loss: None (the compiled loss) or a Keras loss or its name, with one value for each step.
        layer: None, or the name of the layer whose output stands for x, for models of tokens:
            that of the Embedding. Steps that it masks are left out.
        block: M, a positive integer; None (default) is D + 1, at most 32.
        batch_size: Rows of the arrays that are run together.
        time_local: As in `explicit_state`.

    Returns:
        A `GradientOverDistance` with arrays `distance` `[D+1]`, `mean` (NaN where the data has no
        such pair), `pairs` (their summed weights) and `plot()`.

    Raises:
        ValueError, TypeError: For an unknown layer, inputs that are not numbers with a gradient, a
            loss that is missing or not per step, data without batches, and what `explicit_state`
            refuses.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), the figure of gradients.

    Example:

    >>> import keras, numpy as np
    >>> cell = keras.layers.SimpleRNN(1, "linear", return_sequences=True, use_bias=False)
    >>> model = keras.Sequential([keras.Input((None, 1)), cell])
    >>> model.set_weights([np.array([[1.0]]), np.array([[0.5]])])
    >>> x = np.ones([1, 8, 1], "float32")
    >>> found = gradient_over_distance(model, (x, x), 3, loss=lambda y, p: p[..., 0])
    >>> found.mean.tolist(), found.pairs.tolist()
    ([1.0, 0.5, 0.25, 0.125], [8.0, 7.0, 6.0, 5.0])
    """
    reach = _checks.integer("max_distance", max_distance, minimum=0)
    block = _checks.optional_integer("block", block) or min(reach + 1, 32)
    batch_size = _checks.integer("batch_size", batch_size)
    measure = _Measure(model, _data.step_loss(model, loss), layer, time_local)
    sums, pairs = np.zeros(reach + 1), np.zeros(reach + 1)
    for x, y, weights in _data.batches(data, batch_size):
        for distance, norms, weight in measure.blocks(x, y, weights, reach, block):
            near = (distance >= 0) & (distance <= reach)
            for total, values in ((sums, norms * weight), (pairs, weight)):
                total += np.bincount(distance[near], values.sum(0)[near], reach + 1)
    mean = np.divide(sums, pairs, out=np.full(reach + 1, np.nan), where=pairs > 0)
    return GradientOverDistance(np.arange(reach + 1), mean, pairs)


def _without_gradient(dtype):
    return ValueError(
        "`layer` must name the layer (the Embedding) whose output stands for x where the loss has "
        f"no gradient with respect to the inputs themselves. Received: x of {dtype.name}"
    )


class _Measure:
    """The model behind the tensor that stands for x, and its windows."""

    def __init__(self, model, loss, layer, time_local):
        self.loss, self.head, tail = loss, None, model
        if layer is not None:
            tensor = graphs.call_of(model, layer).output_tensors[0]
            self.head, tail, self.others = graphs.cut(model, tensor)
        self.stream = explicit_state(tail, time_local)
        self._use_adjoints()
        self.has_time = self.stream.output_has_time[0]
        if not self.stream.input_has_time[0]:
            raise ValueError(
                "`model` must have an input over time as its first, which stands for x, or `layer` "
                f"be given. Received: inputs {self.stream.input_names}, layer=None"
            )
        if len(self.stream.output_names) > 1:
            raise ValueError(
                "`model` must have one output, that of the loss. "
                f"Received: outputs {self.stream.output_names}"
            )
        compiled = {"autograph": False, "reduce_retracing": True}
        self.advance = tf.function(lambda x, s, m: self.stream(x, s, mask=m)[1], **compiled)
        self.norms = tf.function(self._norms, **compiled)

    def _use_adjoints(self):
        """Let the stream's layers, which are its own, take the gradient that is written by hand.

        They are called with `training=False`, where the rule of forms leaves it to TensorFlow.
        """
        masked = () if self.head is None else (self.stream.masked_model,)
        for model in (self.stream.model, *masked):
            for layer in model.layers:
                if isinstance(layer, keras.layers.RNN) and getattr(layer, "form", None) == "auto":
                    layer.form = "adjoint"

    def blocks(self, x, y, weights, reach, block):
        """(distance [M, L], norms [B, M, L], weights of the pairs [B, M, L]) of each block."""
        inputs, mask = self._inputs(x)
        first = self.stream.input_names[0]
        rows, time = inputs[first].shape[:2]
        y = _data.check_targets(y, [rows, time] if self.has_time else [rows])
        weights = self._weights(weights, rows, time)
        present = np.ones([rows, time]) if mask is None else np.asarray(mask, np.float64)
        state, position = self.stream.initial_state(rows), 0
        for begin in range(0 if self.has_time else time - 1, time, block):
            end, start = min(begin + block, time), max(0, begin - reach)
            if start > position:
                state = self.advance(*self._part(inputs, state, mask, position, start))
                position = start
            part = self._part(inputs, state, mask, start, end)
            targets = y[:, begin:end] if self.has_time else y
            norms = self.norms(*part, targets, tf.range(begin - start, end - start)).numpy()
            distance = np.arange(begin, end)[:, None] - np.arange(start, end)
            pairs = weights[:, begin:end, None] * present[:, None, start:end]
            yield distance, norms, np.broadcast_to(pairs, norms.shape)

    def _norms(self, inputs, state, mask, y, times):
        first = self.stream.input_names[0]
        copies = tf.shape(times)[0]
        inputs, state = tf.nest.map_structure(lambda v: tf.repeat(v, copies, 0), (inputs, state))
        mask = None if mask is None else tf.repeat(mask, copies, 0)
        rows = tf.shape(inputs[first])[0] // copies
        with tf.GradientTape() as tape:
            tape.watch(inputs[first])
            outputs, _ = self.stream(inputs, state, mask=mask)
            if self.has_time:
                outputs = tf.gather(outputs, tf.tile(times, [rows]), batch_dims=1)
                outputs = tf.reshape(outputs, tf.concat([[rows, copies], tf.shape(outputs)[1:]], 0))
            losses = self.loss(y, outputs)
            _data.check_steps(losses, [None] * (1 + self.has_time))
        gradient = tape.gradient(losses, inputs[first])
        if gradient is None:
            raise _without_gradient(inputs[first].dtype)
        features = list(range(2, gradient.shape.rank))
        squares = tf.reduce_sum(tf.cast(gradient, tf.float64) ** 2, features)
        return tf.reshape(tf.sqrt(squares), [rows, copies, tf.shape(squares)[1]])

    def _inputs(self, x):
        """The inputs of the stream by name, and the mask of the layer that stands for x."""
        names, mask = self.stream.input_names, None
        if self.head is not None:
            hidden, flat = self.head(x, training=False), keras.tree.flatten(x)
            mask = _keras.mask_of(hidden)
            x = [hidden, *(flat[i] for i in self.others)]
        inputs = self.stream.flat_inputs(x)
        kinds = {t.name: tf.as_dtype(t.dtype) for t in self.stream.model.inputs}
        if not kinds[names[0]].is_floating:
            raise _without_gradient(kinds[names[0]])
        return {n: tf.cast(v, kinds[n]) for n, v in inputs.items()}, mask

    def _part(self, inputs, state, mask, begin, end):
        part = self.stream.slice_time(inputs, begin, end)
        return part, state, None if mask is None else mask[:, begin:end]

    def _weights(self, weights, rows, time):
        expected = (rows, time) if self.has_time else (rows,)
        if weights is None:
            weights = np.ones(expected)
        if weights.shape != expected:
            raise ValueError(
                f"The weights in `data` must have the shape {expected}. "
                f"Received: shape {weights.shape}"
            )
        # The one loss of a model without time is that of the last step.
        return weights if self.has_time else np.repeat(weights[:, None], time, 1)
