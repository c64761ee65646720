"""Bounds that weights have: norms of matrices, and what maps with them do to bounds of a vector."""

import math

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.activations import facts
from rnnzoo.certificates._signals import NoBound, Norms, plus, times, up
from rnnzoo.layers._recurrent import HALF_PRECISION
from rnnzoo.layers.constraints import spectral_norm_slack


def check_arithmetic(layer):
    """Refuse a layer whose arithmetic is coarser than the rounding that is left aside."""
    if tf.as_dtype(layer.compute_dtype) in HALF_PRECISION:
        raise NoBound(f"it computes in {layer.compute_dtype}, whose rounding no bound here covers")
    if getattr(layer, "quantization_mode", None) is not None:
        raise NoBound(f"it is quantized to {layer.quantization_mode}")


def spectral(matrix):
    """An upper bound of the largest singular value."""
    if not matrix.size:
        return 0.0
    return float(np.linalg.norm(matrix, 2)) * (1.0 + spectral_norm_slack(matrix.shape))


def two_norm(values):
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.sum(np.square(values))))


def stored(layer, *names):
    """Weights in float64; refused where one is not finite."""
    values = [np.asarray(keras.ops.convert_to_numpy(getattr(layer, n)), np.float64) for n in names]
    for name, value in zip(names, values):
        if not np.isfinite(value).all():
            raise NoBound(f"its `{name}` is not finite")
    return values


def gate_weights(cell):
    """kernel, recurrent kernel and bias (or None)."""
    names = ("kernel", "recurrent_kernel", *(["bias"] if cell.use_bias else []))
    return (*stored(cell, *names), None)[:3]


def image(activation, units, before):
    """`Norms` of activation(a) from those of `a`."""
    slope, bound = facts(activation).lipschitz, facts(activation).bound
    at_zero = abs(float(activation(keras.ops.zeros([], "float64")))) * (1.0 + 1e-6)
    sup = min(plus(times(slope, before.sup), at_zero), bound)
    two = plus(times(slope, before.two), up(at_zero * math.sqrt(units)))
    return Norms.of(sup, two, units)


class Affine:
    """What x W + b makes of bounds of x: `size` of x itself, `error` of a difference of two."""

    def __init__(self, kernel, bias=None):
        kernel = kernel if kernel.ndim == 2 else np.diag(kernel)
        self.whole = spectral(kernel)
        kernel = np.abs(kernel)
        rows, self.features = kernel.shape
        self.one = up(kernel.sum(0), rows)
        self.two = up(np.sqrt((kernel**2).sum(0)), rows)
        self.shift = np.zeros(self.features) if bias is None else np.abs(bias)

    def size(self, norms):
        return self._norms(norms, self.shift)

    def error(self, norms):
        return self._norms(norms, np.zeros(self.features))

    def _norms(self, norms, shift):
        columns = zip(self.one, self.two, shift)
        sup = [plus(min(times(o, norms.sup), times(t, norms.two)), b) for o, t, b in columns]
        two = plus(times(self.whole, norms.two), up(float(np.linalg.norm(shift)), len(shift)))
        return Norms.of(max(sup, default=0.0), two, self.features)
