"""The error of a truncated model, measured on data."""

import numpy as np
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.diagnostics._data import batches
from rnnzoo.graphs import feeds_embedding, functional_of
from rnnzoo.layers.truncated_wrapper import TruncatedWrapper

BATCH = 32  # rows that run at a time


def errors(recurrent, truncated, data, input_bound):
    """The worst and the mean error over rows and steps, and the size of the largest input."""
    graphs, functional = {}, functional_of(truncated)
    worst, total, steps, largest = 0.0, 0.0, 0, 0.0
    for x, *_ in batches(data, BATCH, targets=False):
        x = tf.nest.map_structure(tf.convert_to_tensor, x)
        largest = max(largest, _largest(functional, x, input_bound))
        both = _both(graphs, recurrent, truncated, x)
        for full, cut in zip(*(tf.nest.flatten(y) for y in both)):
            gap = np.abs(np.asarray(full, np.float64) - np.asarray(cut, np.float64))
            gap = np.max(gap, axis=-1) if gap.ndim > 1 else gap
            # NumPy's maximum, which keeps what is not a number.
            worst = np.maximum(worst, np.max(gap, initial=0.0))
            total, steps = total + gap.sum(), steps + gap.size
    if not steps:
        raise ValueError("`data` must hold at least one time step. Received: data without any")
    return float(worst), float(total / steps), largest


def length(model):
    """The k to which a model is truncated."""
    wrappers = [layer for layer in _keras.flat_layers(model) if isinstance(layer, TruncatedWrapper)]
    lengths = {wrapper.k for wrapper in wrappers}
    if len(lengths) != 1 or any(wrapper.mode != "window" for wrapper in wrappers):
        raise ValueError(
            "`truncated` must be a model whose recurrent layers are all truncated, in mode "
            f"'window' and to one length, as `truncate` makes it. Received: {model.name!r} with "
            f"{[(w.name, w.mode, w.k) for w in wrappers]}"
        )
    return lengths.pop()


def _both(graphs, recurrent, truncated, x):
    """The outputs of both models, in one graph for each shape of batches."""
    shapes = str(tf.nest.map_structure(lambda v: (v.shape, v.dtype), x))
    if shapes not in graphs:
        run = tf.function(
            lambda x: (recurrent(x, training=False), truncated(x, training=False)), autograph=False
        )
        graphs[shapes] = run.get_concrete_function(x)
    return graphs[shapes](x)


def _largest(functional, x, bound):
    """The largest size of an input feature of a batch, of whatever type; tokens are none."""
    features = [
        np.abs(np.asarray(value, np.float64))
        for tensor, value in zip(functional.inputs, _keras.flat_inputs(functional, x))
        if not feeds_embedding(functional, tensor)
    ]
    largest = max((float(np.max(v, initial=0.0)) for v in features), default=0.0)
    finite = all(np.isfinite(v).all() for v in features)
    if not finite or (bound is not None and largest > bound):
        raise ValueError(
            "`data` must hold finite inputs, within `input_bound` where that is given. "
            f"Received: an input of size {largest}, input_bound={bound}"
        )
    return largest
