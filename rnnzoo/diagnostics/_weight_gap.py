"""How far apart the weights of two models are."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np

from rnnzoo._figures import new_figure


class WeightGap(NamedTuple):
    """The distance of two models' weights: total, relative to the first model, of each layer."""

    total: float
    relative: float
    layers: dict

    def plot(self, axes=None, **options):
        """A bar for each layer, on `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        axes.barh(list(self.layers), list(self.layers.values()), **options)
        axes.invert_yaxis()
        axes.set(xlabel="distance of the weights")
        return axes.figure


def weight_gap(a: keras.layers.Layer, b: keras.layers.Layer) -> WeightGap:
    r"""The Euclidean distance between the weights of two models of one structure.

    $$d = \Big(\sum_j \|W^a_j - W^b_j\|_F^2\Big)^{1/2}$$

    Args:
        a, b: Built Keras models (or layers) whose weights have the same shapes in the same order,
            for example a model and its truncation, or one model trained in two ways.

    Returns:
        A `WeightGap`: `total`, `relative` (to the norm of all weights of `a`; infinite or NaN where
        that is 0), and `layers`, a dict of the distance in each layer of `a` that has weights. In
        float64. `plot()` draws the layers.

    Raises:
        TypeError: For what is no Keras layer or model.
        ValueError: For models that are not built, have no weights, or whose weights differ in
            number or shape; the message names the weight.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), proposition 2.

    Example:

    >>> import keras, numpy as np
    >>> a = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="head")])
    >>> b = keras.models.clone_model(a)
    >>> a.set_weights([np.array([[1.0]]), np.array([0.0])])
    >>> b.set_weights([np.array([[4.0]]), np.array([4.0])])
    >>> weight_gap(a, b)
    WeightGap(total=5.0, relative=5.0, layers={'head': 5.0})
    """
    pairs = list(zip(_weights("a", a), _weights("b", b), strict=False))
    if len(a.weights) != len(b.weights):
        raise ValueError(
            "`a` and `b` must have the same weights. "
            f"Received: {len(a.weights)} weights in a, {len(b.weights)} in b"
        )
    squares = {}
    for one, other in pairs:
        if one.shape != other.shape:
            raise ValueError(
                f"`a` and `b` must have weights of the same shapes. Received: {one.path} of "
                f"{tuple(one.shape)} in a, {other.path} of {tuple(other.shape)} in b"
            )
        squares[id(one)] = float(np.sum((_value(one) - _value(other)) ** 2))
    size = np.sqrt(sum(float(np.sum(_value(one) ** 2)) for one, _ in pairs))
    total = float(np.sqrt(sum(squares.values())))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = float(np.float64(total) / size)
    return WeightGap(total, relative, _by_layer(a, squares))


def _weights(name, model):
    if not isinstance(model, keras.Layer):
        raise TypeError(f"`{name}` must be a Keras model or layer. Received: {name}={model!r}")
    if not model.weights:
        raise ValueError(f"`{name}` must be built and have weights. Received: {model.name!r}")
    return model.weights


def _value(variable):
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)


def _by_layer(model, squares):
    """The distance in each layer; each weight counts where it is met first."""
    left, found = dict(squares), {}
    for layer in [*getattr(model, "layers", ()), model]:
        own = [left.pop(id(w)) for w in layer.weights if id(w) in left]
        if own:
            found[layer.name] = float(np.sqrt(sum(own)))
    return found
