"""How strongly the states depend on the recurrent weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo._figures import new_figure
from rnnzoo.diagnostics import _data
from rnnzoo.diagnostics._steps import Steps, the_recurrent_node
from rnnzoo.layers._eigenvalues import PARAMETRIZATIONS

# The weights that multiply the state, or from which its factors are made.
RECURRENT = {"recurrent_kernel", "A", *(n for p in PARAMETRIZATIONS.values() for n in p.names)}


class Sensitivity(NamedTuple):
    """Second moments of dh/dw: of each weight's entries at the last step, and means over time."""

    last: dict
    by_time: dict

    def plot(self, axes=None, **options):
        """The means against time, on `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        for name, moments in self.by_time.items():
            shown = moments > 0
            axes.semilogy(np.flatnonzero(shown) + 1, moments[shown], label=name, **options)
        axes.set(xlabel="t", ylabel=r"mean of $\|\mathrm{d}h_t/\mathrm{d}w\|^2$")
        axes.legend()
        return axes.figure


def sensitivity(
    model: keras.Model,
    data: Iterable,
    layer: str | None = None,
    weights: Sequence | None = None,
    batch_size: int = 8,
) -> Sensitivity:
    r"""The second moment of the derivative of a recurrent layer's state by its recurrent weights.

    $$M_t(w) = E\left\|\frac{d h_t}{d w}\right\|_2^2,\qquad
      \frac{dh_t}{dw} = \frac{\partial\phi}{\partial h}\frac{dh_{t-1}}{dw}
      + \frac{\partial\phi}{\partial w}$$

    for each entry w of the weights, over the rows of the data; exact, by forward differentiation:
    the derivatives are carried along with the state. $h$ stands for the whole state (h and c of an
    LSTM, real and imaginary parts of an LRU's). Compare `sensitivity_second_moment(lambda, rho)`,
    the closed form for one linear unit.

    Args:
        model: A Functional or Sequential model with a recurrent layer (`keras.layers.RNN` and its
            subclasses) that is given no initial state.
        data: x alone, `(x, y)` of arrays, or an iterable of batches; y is not used.
        layer: The recurrent layer's name; None where the model has one.
        weights: A list of names of the layer's weights; None (default) takes those that multiply
            the state: `recurrent_kernel`, `A` of `LinearRNN`, the eigenvalues' of `LRU`.
        batch_size: Rows of the arrays that are run together.

    A masked step changes neither state nor derivative. Cost: with S entries of the state and P of
    the weights, B S P numbers are held and S^2 P multiplications made for each step of a row.

    Returns:
        A `Sensitivity`: `last`, a dict from a weight's name to float64 of the weight's shape, at
        each row's last real step; `by_time`, a dict to float64 `[T]`, the mean over the weight's
        entries and the rows for which step t is real (NaN where there is none); `plot()`. Weights
        of one name, as in stacked cells, are told apart by their paths.

    Raises:
        ValueError, TypeError: For an unknown layer or weight, a layer without such weights or with
            an initial state, and data without batches.

    Source: Zucchet & Orvieto, *Recurrent neural networks: vanishing and exploding gradients are
    not the end of the story* (2024), section 3.

    Example:

    >>> import keras, numpy as np
    >>> rnn = keras.layers.SimpleRNN(1, "linear", use_bias=False)
    >>> model = keras.Sequential([keras.Input((None, 1)), rnn])
    >>> model.set_weights([np.array([[1.0]]), np.array([[0.5]])])
    >>> found = sensitivity(model, np.ones([1, 3, 1], "float32"))
    >>> found.by_time["recurrent_kernel"].tolist()  # h is 1, 1.5, 1.75
    [0.0, 1.0, 4.0]
    """
    batch_size = _checks.integer("batch_size", batch_size)
    steps = Steps(model, the_recurrent_node(model, layer))
    variables = _variables(steps.layer, weights)
    sizes = [int(np.prod(v.shape)) for v in variables.values()]

    @tf.function(autograph=False, reduce_retracing=True)
    def run(inputs, present):
        return _forward(steps, list(variables.values()), inputs, present, sum(sizes))

    rows, last, sums, counts = 0, 0.0, [np.zeros(0)] * len(sizes), np.zeros(0)
    for x, _, _ in _data.batches(data, batch_size, targets=False):
        inputs, present = steps.sequences(x)
        moments, by_time = run(inputs, tf.constant(present))
        last = last + moments.numpy()
        rows += present.shape[1]
        counts = _added(counts, present.sum(1))
        parts = np.split(by_time.numpy(), np.cumsum(sizes)[:-1], axis=1)
        sums = [_added(total, part.mean(1)) for total, part in zip(sums, parts)]
    ends = np.split(last / rows, np.cumsum(sizes)[:-1])
    means = [np.divide(t, counts, out=np.full(len(t), np.nan), where=counts > 0) for t in sums]
    return Sensitivity(
        {name: end.reshape(v.shape) for (name, v), end in zip(variables.items(), ends)},
        dict(zip(variables, means)),
    )


def _forward(steps, variables, inputs, present, size):
    """(squares at the end, summed over rows, `[P]`; and at each real step, `[T, P]`)."""
    rows, time = tf.shape(inputs)[1], tf.shape(inputs)[0]
    state = steps.start(rows)
    slope = tf.zeros([rows, state.shape[1], size], state.dtype)

    def squares(slope):
        return tf.reduce_sum(tf.cast(slope, tf.float64) ** 2, 1)

    def step(t, state, slope, found):
        after, (by_state, *direct) = steps.derivatives(state, inputs[t], variables)
        flat = [tf.reshape(d, [rows, state.shape[1], -1]) for d in direct]
        real = present[t]
        moved = tf.matmul(by_state, slope) + tf.cast(tf.concat(flat, 2), slope.dtype)
        moved = tf.ensure_shape(moved, slope.shape)
        after = tf.ensure_shape(after, state.shape)
        slope = tf.where(real[:, None, None], moved, slope)
        found = found.write(t, tf.reduce_sum(tf.where(real[:, None], squares(slope), 0.0), 0))
        return t + 1, tf.where(real[:, None], after, state), slope, found

    found = tf.TensorArray(tf.float64, time, element_shape=[size])
    _, _, slope, found = tf.while_loop(lambda t, *_: t < time, step, (0, state, slope, found))
    return tf.reduce_sum(squares(slope), 0), found.stack()


def _variables(layer, names):
    """The chosen weights by name, or by path where a name is not theirs alone."""
    own = layer.weights
    shared = len({v.name for v in own}) < len(own)
    known = {v.path if shared else v.name: v for v in own}
    if names is None:
        chosen = {key: v for key, v in known.items() if v.name in RECURRENT}
        if chosen:
            return chosen
    elif isinstance(names, (list, tuple)) and names and set(names) <= set(known):
        return {name: known[name] for name in names}
    raise ValueError(
        f"`weights` must be a list of weights of {layer.name!r}, which are {list(known)}. "
        f"Received: weights={names!r}"
    )


def _added(total, part):
    """The sum of two vectors, the shorter one followed by zeros."""
    length = max(len(total), len(part))
    return np.pad(total, (0, length - len(total))) + np.pad(part, (0, length - len(part)))
