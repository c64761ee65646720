"""How contractive a model's recurrent steps are on the states that data reaches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import ml_dtypes
import numpy as np
import tensorflow as tf

from rnnzoo import _checks, graphs
from rnnzoo._figures import new_figure
from rnnzoo.diagnostics import _data
from rnnzoo.diagnostics._steps import LayerSteps, model_before

_ROWS = 8192  # of the cell's batch at once


class DataContraction(NamedTuple):
    """The largest gains found: between pairs of reached states, and locally; and all of them."""

    pairs: float
    jacobian: float
    pair_ratios: np.ndarray
    jacobian_norms: np.ndarray

    def plot(self, axes: Any = None) -> Any:
        """Histograms of both, on `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        shared = {"bins": 40, "density": True, "alpha": 0.6}
        if self.pair_ratios.size:
            axes.hist(self.pair_ratios, label="pairs of states", **shared)
        axes.hist(self.jacobian_norms, label="Jacobian norms", **shared)
        axes.axvline(1.0, color="gray", linestyle="--")
        axes.set(xlabel="gain of a step", ylabel="density")
        axes.legend()
        return axes.figure


def data_contraction(
    model: keras.Model,
    data: Iterable,
    points: int = 256,
    norm: int | str = 2,
    seed: int = 0,
    batch_size: int = 32,
) -> dict[str, DataContraction]:
    r"""The gains of each recurrent layer's step at states and inputs that the data reaches.

    $$\hat\lambda = \max_{p, q} \frac{\|\phi(s_q, x_p) - \phi(s_p, x_p)\|}{\|s_q - s_p\|},
      \qquad \hat\lambda_J = \max_p \left\| \partial \phi(s_p, x_p) / \partial s \right\|$$

    over a random sample of the steps $(s_{t-1}, x_t)$ that the model makes on the data. A model
    with $\hat\lambda$ below 1 whose `contraction()` is not is what the paper calls effectively
    stable: it contracts where the data leads it. **This is an estimate from below and no
    certificate**: states that were not sampled, or that other data reaches, may have larger gains.

    Args:
        model: A Functional or Sequential model with recurrent layers (`keras.layers.RNN` and its
            subclasses, not nested in other layers or models). The state of a step is all of the
            layer's states side by side: (h, c) of an LSTM.
        data: x alone, `(x, y)` of arrays, or an iterable of batches; y is not used.
        points: How many steps are sampled, an integer of at least 2; fewer where the data has
            fewer. The pairs are all pairs of these.
        norm: 2 (default) or `"inf"`, in which `StableLSTM` contracts.
        seed: Of the sample, an integer of at least 0.
        batch_size: Rows of the arrays that are run together.

    Masked steps do not happen and are not sampled. Pairs of states closer together than the square
    root of the compute dtype's rounding, relative to the largest state, are left out: rounding
    would decide them. Cost: `points`^2 steps of the cell, and `points` Jacobians.

    Returns:
        A dict with a `DataContraction` for each recurrent layer's name: floats `pairs` and
        `jacobian`, the two maxima; arrays `pair_ratios` and `jacobian_norms`; `plot()`. `pairs` is
        NaN where the sample has no two states apart.

    Raises:
        ValueError, TypeError: For arguments out of range, a model without recurrent layers or with
            one that is given an initial state, and data without batches.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), data-dependent stability.

    Example:

    >>> import keras, numpy as np
    >>> layer = keras.layers.SimpleRNN(2, "linear", name="rnn")
    >>> model = keras.Sequential([keras.Input((None, 1)), layer])
    >>> model.set_weights([np.ones([1, 2]), np.diag([0.5, 0.25]), np.zeros(2)])
    >>> x = np.random.default_rng(0).normal(size=[3, 5, 1])
    >>> found = data_contraction(model, x)["rnn"]
    >>> bool(found.pairs <= 0.5001), round(found.jacobian, 4)
    (True, 0.5)
    """
    points = _checks.integer("points", points, minimum=2)
    order = {2: 2, "inf": np.inf}[_checks.choice("norm", norm, (2, "inf"))]
    _checks.integer("seed", seed, minimum=0)
    batch_size = _checks.integer("batch_size", batch_size)
    nodes = graphs.recurrent_calls(model)
    if not nodes:
        raise ValueError(
            f"`model` must have a recurrent layer. Received: {model.name!r}, which has none"
        )
    walks = {}
    for node in nodes:
        layer = node.operation
        walk = walks.setdefault(layer.name, _Walk(layer, points, seed))
        walk.befores.append(model_before(model, node))
    for x, _, _ in _data.batches(data, batch_size, targets=False):
        for walk in walks.values():
            for before in walk.befores:
                walk.sample(before(x, training=False))
    return {name: _measure(walk, order) for name, walk in walks.items()}


class _Walk:
    """One recurrent layer, the models before its calls, and the sample of its steps."""

    def __init__(self, layer, points, seed):
        self.layer, self.points, self.befores = layer, points, []
        self.random = np.random.default_rng(seed)
        self.keys, self.states, self.inputs = np.zeros(0), None, None
        self.steps = LayerSteps(layer)
        self.run = tf.function(self.steps.entering, autograph=False, reduce_retracing=True)
        self.phi = tf.function(self.steps.step, autograph=False, reduce_retracing=True)

    def sample(self, inputs):
        """Take the steps of a batch into the sample: those with the smallest random keys stay."""
        inputs, present = self.steps.ordered(inputs)
        before = self.run(inputs, tf.constant(present)).numpy()
        keys = np.concatenate([self.keys, self.random.random(int(present.sum()))])
        states, inputs = before[present], inputs.numpy()[present]
        if self.states is not None:
            states = np.concatenate([self.states, states])
            inputs = np.concatenate([self.inputs, inputs])
        kept = np.argsort(keys)[: self.points]
        self.keys, self.states, self.inputs = keys[kept], states[kept], inputs[kept]

    def jacobians(self, states, x):
        with tf.GradientTape() as tape:
            states = tf.constant(states)
            tape.watch(states)
            after = self.steps.step(states, tf.constant(x))
        return tape.batch_jacobian(after, states).numpy().astype(np.float64)


def _measure(walk, order):
    states, inputs = walk.states, walk.inputs
    count, size = states.shape
    if not count:
        raise ValueError(
            "`data` must have steps that are not masked. "
            f"Received: none for the layer {walk.layer.name!r}"
        )
    ratios = _pair_ratios(walk, order)
    rows = max(1, 2**24 // size**2)
    norms = [
        np.linalg.norm(walk.jacobians(states[i : i + rows], inputs[i : i + rows]), order, (1, 2))
        for i in range(0, count, rows)
    ]
    norms = np.concatenate(norms)
    largest = float(ratios.max()) if ratios.size else float("nan")
    return DataContraction(largest, float(norms.max()), ratios, norms)


def _pair_ratios(walk, order):
    """The gains of all ordered pairs of sampled states that are far enough apart."""
    states, inputs = walk.states, walk.inputs
    count = len(states)
    wide = states.astype(np.float64)
    computed_in = tf.as_dtype(walk.layer.compute_dtype).as_numpy_dtype
    rounding = float(ml_dtypes.finfo(computed_in).eps)
    apart = np.sqrt(rounding) * np.linalg.norm(wide, order, 1).max()
    at_once, found = max(1, _ROWS // count), []
    for begin in range(0, count, at_once):
        some = np.arange(begin, min(begin + at_once, count))
        x = np.repeat(inputs[some], count, 0)
        after = walk.phi(tf.constant(np.tile(states, (len(some), 1))), tf.constant(x)).numpy()
        after = after.reshape(len(some), count, -1).astype(np.float64)
        moved = after - after[np.arange(len(some)), some][:, None]
        between = np.linalg.norm(wide - wide[some][:, None], order, 2)
        far = between > apart
        found.append(np.linalg.norm(moved, order, 2)[far] / between[far])
    return np.concatenate(found)
