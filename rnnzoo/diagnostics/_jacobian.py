"""How the state depends on an earlier state: entries of the Jacobian, on and off the diagonal."""

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


class Jacobian(NamedTuple):
    """dh_{t+d}/dh_t for each distance d and each row; which entries join a unit to itself."""

    distance: np.ndarray
    entries: np.ndarray
    same_unit: np.ndarray

    @property
    def diagonal(self):
        """Root mean square of the entries within units, for each distance."""
        return self._size(self.same_unit)

    @property
    def off_diagonal(self):
        """Root mean square of the entries between units, for each distance; NaN for one unit."""
        return self._size(~self.same_unit)

    def _size(self, chosen):
        if not chosen.any():
            return np.full(len(self.distance), np.nan)
        return np.sqrt(np.mean(self.entries[:, :, chosen] ** 2, axis=(1, 2)))

    def plot(self, axes=None, **options):
        """Both sizes against distance, on `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        for name, size in (("diagonal", self.diagonal), ("off-diagonal", self.off_diagonal)):
            shown = size > 0
            axes.plot(self.distance[shown], size[shown], ".-", label=name, **options)
        axes.set(xlabel="distance d", ylabel=r"r.m.s. of $\partial h_{t+d}/\partial h_t$")
        axes.set_yscale("log")
        axes.legend()
        return axes.figure


def jacobian(
    model: keras.Model,
    data: Iterable,
    distance: int | Sequence[int],
    start: int = 0,
    layer: str | None = None,
    batch_size: int = 32,
) -> Jacobian:
    r"""The entries of the derivative of a recurrent layer's state by an earlier one.

    $$J^{(d)} = \frac{\partial h_{t+d}}{\partial h_t}
      = \prod_{s=t+1}^{t+d} \frac{\partial\phi(h_{s-1}, x_s)}{\partial h_{s-1}}$$

    on the states that the data leads to, exactly, as the product of the steps' Jacobians. $h$ is
    the whole state, its parts side by side (h and c of an LSTM, real and imaginary parts of an
    LRU's). The diagonal is then all that joins a unit to itself: entry (i, j) with i = j modulo
    the number of units, in each of stacked cells by itself. An LRU has nothing off it; how far
    that is true of a GRU says how much of the theory of diagonal recurrences applies to it.

    Args:
        model: A Functional or Sequential model with a recurrent layer (`keras.layers.RNN` and its
            subclasses) that is given no initial state.
        data: x alone, `(x, y)` of arrays, or an iterable of batches; y is not used.
        distance: d, an integer of at least 0, or a list of them.
        start: t, the number of steps before, an integer of at least 0 (default: the initial
            state).
        layer: The recurrent layer's name; None where the model has one.
        batch_size: Rows of the arrays that are run together.

    Rows with a masked step among the first t + d are left out. Cost: with S entries of the state,
    S reverse passes through each step and a product of two matrices `[S, S]`.

    Returns:
        A `Jacobian`: `distance` `[K]`, as given; `entries` `[K, rows, S, S]`, float64, the later
        state first; `same_unit` `[S, S]`, bool; the properties `diagonal` and `off_diagonal`
        `[K]`; `plot()`.

    Raises:
        ValueError, TypeError: For arguments out of range, an unknown layer or one with an initial
            state, sequences of fewer than t + d steps, and data without an unmasked row.

    Source: Zucchet & Orvieto, *Recurrent neural networks: vanishing and exploding gradients are
    not the end of the story* (2024), the section on gated networks.

    Example:

    >>> import keras, numpy as np
    >>> rnn = keras.layers.SimpleRNN(2, "linear", use_bias=False)
    >>> model = keras.Sequential([keras.Input((None, 1)), rnn])
    >>> model.set_weights([np.ones([1, 2]), np.array([[0.5, 0.0], [1.0, 0.5]])])
    >>> found = jacobian(model, np.ones([1, 4, 1], "float32"), [1, 3])
    >>> found.entries[1, 0].tolist(), found.diagonal.tolist()
    ([[0.125, 0.75], [0.0, 0.125]], [0.5, 0.125])
    """
    given = [distance] if np.ndim(distance) == 0 else distance
    distances = [_checks.integer("distance", d, minimum=0) for d in given]
    if not distances:
        raise ValueError(f"`distance` must hold at least one. Received: distance={distance!r}")
    start = _checks.integer("start", start, minimum=0)
    batch_size = _checks.integer("batch_size", batch_size)
    steps = Steps(model, the_recurrent_node(model, layer))
    step = tf.function(steps.derivatives, autograph=False, reduce_retracing=True)
    found = []
    for x, _, _ in _data.batches(data, batch_size, targets=False):
        inputs = _whole_rows(*steps.sequences(x), start + max(distances))
        if inputs.shape[1]:
            found.append(_products(steps, step, inputs, start, distances))
    if not found:
        raise ValueError(
            f"`data` must have a row whose first {start + max(distances)} steps are not masked. "
            "Received: data without one"
        )
    entries = np.concatenate(found, axis=1)
    return Jacobian(np.array(distances), entries, _same_unit(steps.layer))


def _whole_rows(inputs, present, length):
    """The first `length` steps of the rows in which these are all real."""
    if len(present) < length:
        raise ValueError(
            f"`distance` and `start` must be at most the number of steps, {len(present)}, "
            f"together. Received: {length}"
        )
    return inputs.numpy()[:length, present[:length].all(0)]


def _products(steps, step, inputs, start, distances):
    """[K, B, S, S]"""
    state = steps.start(inputs.shape[1])
    product = np.tile(np.eye(state.shape[1]), (inputs.shape[1], 1, 1))
    at = {0: product}
    for t, x in enumerate(inputs):
        state, (one,) = step(state, tf.constant(x))
        if t >= start:
            product = one.numpy().astype(np.float64) @ product
            at[t - start + 1] = product
            at = {d: p for d, p in at.items() if d in distances or p is product}
    return np.stack([at[d] for d in distances])


def _same_unit(layer):
    """Which entries join a unit to itself: of equal place in states of equal size of one cell."""
    units, first = [], 0
    for cell in getattr(layer.cell, "cells", [layer.cell]):
        sizes = keras.tree.flatten(cell.state_size)
        shared = len(set(sizes)) == 1
        for size in sizes:
            units.append(first + np.arange(size))
            first += 0 if shared else size
        first += sizes[0] if shared else 0
    units = np.concatenate(units)
    return units[:, None] == units
