"""Exact upper bounds of what layers between recurrences do to a signal and to an error.

Each rule takes (layer, signals, shape of the output) and returns the `Signal` after the layer, or
raises `NoBound`. Norms are over the features of one time step; a layer without a rule has no
constant here. At inference dropout and noise are the identity, and batch normalization an affine
map of each feature.
"""

import math

import keras
import numpy as np

from rnnzoo.activations import facts
from rnnzoo.certificates._signals import EPSILON, NoBound, Norms, Signal, plus, times, up
from rnnzoo.certificates._weights import Affine, check_arithmetic, image, stored
from rnnzoo.layers.running_mean import RunningMean

_layers = keras.layers


def activated(activation, signal):
    """After an activation."""
    n, known = signal.features, facts(activation)
    if known.lipschitz is None:
        name = getattr(activation, "__name__", activation)
        raise NoBound(f"its activation {name} has no known Lipschitz constant")
    if known.elementwise:
        size = image(activation, n, signal.size)
    else:  # softmax, whose values sum to 1
        size = Norms(known.bound, 1.0)
    return signal.mapped(n, size, lambda e: _scaled(e, known.lipschitz, n))


def _scaled(norms, factor, features):
    return Norms.of(times(factor, norms.sup), times(factor, norms.two), features)


def _dense(layer, signals, shape):
    (signal,) = signals
    (kernel,) = stored(layer, "kernel")
    affine = Affine(kernel, stored(layer, "bias")[0] if layer.use_bias else None)
    linear = signal.mapped(shape[-1], affine.size(signal.size), affine.error)
    return activated(layer.activation, linear)


def _activation(layer, signals, shape):
    return activated(layer.activation, signals[0])


def _slopes(layer, signals, shape):
    """ReLU, LeakyReLU, ELU: the steeper of their two slopes."""
    features = shape[-1]
    if getattr(layer, "threshold", 0.0):
        raise NoBound("it jumps at its threshold")
    below = [getattr(layer, name, 0.0) for name in ("negative_slope", "alpha")]
    slope = max(1.0, *(abs(float(value)) for value in below if value is not None))
    (signal,) = signals
    size = _scaled(signal.size, slope, features)
    return signal.mapped(features, size, lambda e: _scaled(e, slope, features))


def _softmax(layer, signals, shape):
    _over_features(layer, shape)
    return activated(keras.activations.softmax, signals[0])


def _same(layer, signals, shape):
    return signals[0]


def _exact_only(layer, signals, shape):
    """Masking: which steps are masked must not depend on the truncation."""
    if not signals[0].exact:
        raise NoBound("an error of its inputs may change which steps are masked")
    return signals[0]


def _embedding(layer, signals, shape):
    features = shape[-1]
    _exact_only(layer, signals, shape)
    (rows,) = stored(layer, "embeddings")
    two = up(float(np.max(np.sqrt((rows**2).sum(1)))), features)
    return Signal(features, Norms.of(np.max(np.abs(rows)), two, features))


def _affine(signal, scale, shift):
    """Each feature times its scale plus its shift."""
    n = signal.features
    factor = up(float(np.max(np.abs(scale))))
    shift = np.broadcast_to(np.abs(shift), n)
    size = Norms.of(
        plus(times(factor, signal.size.sup), float(np.max(shift))),
        plus(times(factor, signal.size.two), up(float(np.linalg.norm(shift)), n)),
        n,
    )
    return signal.mapped(n, size, lambda e: _scaled(e, factor, n))


def _rescaling(layer, signals, shape):
    return _affine(signals[0], np.asarray(layer.scale, float), np.asarray(layer.offset, float))


def _batch_normalization(layer, signals, shape):
    _over_features(layer, shape)
    mean, variance = stored(layer, "moving_mean", "moving_variance")
    scale = stored(layer, "gamma")[0] if layer.scale else np.ones_like(mean)
    scale = scale / np.sqrt(variance + layer.epsilon)
    shift = stored(layer, "beta")[0] if layer.center else 0.0
    margin = 8.0 * EPSILON * (np.abs(mean * scale) + np.abs(shift))
    return _affine(signals[0], scale, np.abs(shift - mean * scale) + margin)


def _layer_normalization(layer, signals, shape):
    r"""$z = (x - \bar x) / \sigma$, $\sigma^2 = \operatorname{var} x + \epsilon$, then affine.

    The Jacobian of z is $(P - z z^\top / n) / \sigma$ with $P$ the projection onto mean zero, of
    which z is an eigenvector: $z^\top z / n \le 1$, so the bracket lies between 0 and 1 and the
    2-norm is at most $1 / \sqrt\epsilon$. RMSNormalization is the same with $P = I$.
    """
    features = shape[-1]
    _over_features(layer, shape)
    if getattr(layer, "rms_scaling", False):
        raise NoBound("with rms_scaling it divides by a deviation without subtracting the mean")
    name = "scale" if isinstance(layer, _layers.RMSNormalization) else "gamma"
    scale, shift = (
        stored(layer, n)[0] if getattr(layer, n, None) is not None else np.array([default])
        for n, default in ((name, 1.0), ("beta", 0.0))
    )
    if layer.epsilon <= 0.0:
        raise NoBound("with epsilon=0 it is not Lipschitz")
    steep = up(1.0 / math.sqrt(layer.epsilon))
    (signal,) = signals
    size = Norms.of(math.inf, up(math.sqrt(features)), features)
    normal = signal.mapped(
        features, size, lambda e: Norms.of(math.inf, times(steep, e.two), features)
    )
    return _affine(normal, scale, shift)


def _over_features(layer, shape):
    axis = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    rank = len(shape)
    if [a % rank for a in axis] != [rank - 1]:
        raise NoBound(f"it works over axis {layer.axis}, not over the features alone")


def _merged(signals, size, error):
    """A layer of several inputs of one width: `size` and `error` take lists of `Norms`."""
    widths = {s.features for s in signals}
    if len(widths) > 1:
        raise NoBound(f"its inputs have the widths {sorted(map(str, widths))}")
    (n,) = widths
    if all(s.exact for s in signals):
        return Signal(n, size([s.size for s in signals], n))
    return Signal(
        n,
        size([s.size for s in signals], n),
        lambda k: error([s.error(k) for s in signals], n),
    )


def _total(norms, n):
    return Norms.of(plus(*(v.sup for v in norms)), plus(*(v.two for v in norms)), n)


def _root(norms, n):
    """Of a vector whose entries are each at most those of one of several vectors."""
    return Norms.of(max(v.sup for v in norms), up(math.hypot(*(v.two for v in norms)), 4), n)


def _add(layer, signals, shape):
    return _merged(signals, _total, _total)


def _average(layer, signals, shape):
    share = 1.0 / len(signals)
    mean = lambda norms, n: _scaled(_total(norms, n), up(share), n)  # noqa: E731
    return _merged(signals, mean, mean)


def _extreme(layer, signals, shape):
    return _merged(signals, _root, _root)


def _concatenate(layer, signals, shape):
    features = shape[-1]
    _over_features(layer, shape)
    sizes = [s.size for s in signals]
    if all(s.exact for s in signals):
        return Signal(features, _root(sizes, features))
    return Signal(
        features,
        _root(sizes, features),
        lambda k: _root([s.error(k) for s in signals], features),
    )


def _multiply(layer, signals, shape):
    """$ab - a'b' = a (b - b') + (a - a') b'$, one factor after the other."""
    product, *rest = signals
    for other in rest:
        product = _product(product, other)
    return product


def _product(a, b):
    def norms(values, n):
        one, other = values
        two = min(times(one.sup, other.two), times(one.two, other.sup))
        return Norms.of(times(one.sup, other.sup), two, n)

    def error(errors, n):
        return _total([norms([a.size, errors[1]], n), norms([errors[0], b.size], n)], n)

    return _merged([a, b], norms, error)


def _mean_over_time(layer, signals, shape):
    _features_last(layer)
    return signals[0]


def _running_mean(layer, signals, shape):
    if layer.stateful or layer.return_state or len(signals) > 1:
        raise NoBound("it takes a state or hands one out")
    return signals[0]


def _max_over_time(layer, signals, shape):
    _features_last(layer)
    features = shape[-1]
    (signal,) = signals
    return signal.mapped(
        features,
        Norms.of(signal.size.sup, math.inf, features),
        lambda e: Norms.of(e.sup, math.inf, features),
    )


def _features_last(layer):
    if layer.data_format != "channels_last":
        raise NoBound("it takes its second axis for the features")


def _time_distributed(layer, signals, shape):
    inner = layer.layer
    if type(inner) not in RULES or type(inner) in _OVER_TIME:
        raise NoBound(f"its layer, a {type(inner).__name__}, has no known Lipschitz constant")
    check_arithmetic(inner)
    return RULES[type(inner)](inner, signals, (shape[0], *shape[2:]))


_OVER_TIME = (_layers.GlobalAveragePooling1D, _layers.GlobalMaxPooling1D, RunningMean)
RULES = {
    _layers.Dense: _dense,
    _layers.Activation: _activation,
    _layers.ReLU: _slopes,
    _layers.LeakyReLU: _slopes,
    _layers.ELU: _slopes,
    _layers.Softmax: _softmax,
    _layers.Embedding: _embedding,
    _layers.Masking: _exact_only,
    _layers.Rescaling: _rescaling,
    _layers.BatchNormalization: _batch_normalization,
    _layers.LayerNormalization: _layer_normalization,
    _layers.RMSNormalization: _layer_normalization,
    _layers.Add: _add,
    _layers.Subtract: _add,
    _layers.Average: _average,
    _layers.Maximum: _extreme,
    _layers.Minimum: _extreme,
    _layers.Multiply: _multiply,
    _layers.Concatenate: _concatenate,
    _layers.GlobalAveragePooling1D: _mean_over_time,
    _layers.GlobalMaxPooling1D: _max_over_time,
    _layers.TimeDistributed: _time_distributed,
    RunningMean: _running_mean,
}
RULES |= dict.fromkeys(
    (
        _layers.ActivityRegularization,
        _layers.AlphaDropout,
        _layers.Dropout,
        _layers.GaussianDropout,
        _layers.GaussianNoise,
        _layers.Identity,
        _layers.SpatialDropout1D,
    ),
    _same,
)
# Operations on tensors (`a + b`), where every operand is a signal.
OPERATIONS = {
    "Add": _add,
    "Subtract": _add,
    "Maximum": _extreme,
    "Minimum": _extreme,
    "Multiply": _multiply,
}
