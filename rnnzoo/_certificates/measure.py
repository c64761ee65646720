"""The error of a truncated model, measured on data."""

import math

import numpy as np
import tensorflow as tf

from rnnzoo._certificates import rewrite
from rnnzoo.diagnostics._data import batches
from rnnzoo.layers.truncated_wrapper import TruncatedWrapper

BATCH = 32  # rows that run at a time


def errors(truncated, data, input_bound):
    """The worst and the mean error over rows and steps, and the size of the largest input."""
    recurrent = rewrite.recurrent(truncated)
    graphs = {}
    worst, total, steps, largest = 0.0, 0.0, 0, 0.0
    for x, *_ in batches(data, BATCH, targets=False):
        x = tf.nest.map_structure(tf.convert_to_tensor, x)
        largest = max(largest, _largest(x, input_bound))
        both = _both(graphs, recurrent, truncated, x)
        for full, cut in zip(*(tf.nest.flatten(y) for y in both)):
            gap = np.abs(np.asarray(full, np.float64) - np.asarray(cut, np.float64))
            gap = np.max(gap, axis=-1) if gap.ndim > 1 else gap
            worst, total, steps = max(worst, np.max(gap)), total + gap.sum(), steps + gap.size
    return float(worst), float(total / steps), largest


def length(model):
    """The k to which a model is truncated."""
    wrappers = [layer for layer in model._flatten_layers() if isinstance(layer, TruncatedWrapper)]
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


def _largest(x, bound):
    """The largest size of the floating-point inputs of a batch."""
    sizes = [
        float(tf.reduce_max(tf.abs(tf.cast(v, tf.float64)))) if tf.size(v) else 0.0
        for v in tf.nest.flatten(x)
        if v.dtype.is_floating
    ]
    largest = max(sizes, default=0.0)
    if not all(map(math.isfinite, sizes)) or (bound is not None and largest > bound):
        raise ValueError(
            "`data` must hold finite inputs, within `input_bound` where that is given. "
            f"Received: an input of size {largest}, input_bound={bound}"
        )
    return largest
