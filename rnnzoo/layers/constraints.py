"""Projections that hold a bound on the weights: the nearest admissible weights, and only if needed.

Each constraint maps a weight to the closest one (in the Euclidean norm) of a convex set, computed
in float64. The sets are entered by a hair (see `_margin`), so that the result still lies inside
after it was rounded to the variable's dtype; a weight that lies inside already is returned as it
is, so a projection repeated changes nothing. A weight that is not finite has no projection: then
training stops with an error. TensorFlow's XLA drops that check (and computes singular values to
single precision only), there the result is NaN; layers that rely on a projection therefore keep
`supports_jit` off, so that `fit` does not compile the optimizer step with XLA.
"""

import keras
import ml_dtypes
import numpy as np
import tensorflow as tf

from rnnzoo import _checks, _keras

EPSILON = float(np.finfo(np.float64).eps)
FAR = 1e3  # times the bound: beyond it, by a cheap norm, singular values are taken at once


class Projection(keras.constraints.Constraint):
    """Base of the projections: to float64 and back, with the check that the weight is finite."""

    def __call__(self, w):
        w = tf.convert_to_tensor(w)
        self.check_shape(w.shape)
        w = tf.debugging.check_numerics(
            w,
            "A weight that is to be projected is not finite: an optimizer step overflowed or saw a "
            "gradient that is not a number. Lower the learning rate or clip the gradients.",
        )
        finite = tf.reduce_all(tf.math.is_finite(w))
        wide = tf.cast(tf.where(finite, w, tf.zeros_like(w)), tf.float64)
        inside, projected = self.project(wide, w.dtype)
        result = tf.where(inside, w, tf.cast(projected, w.dtype))
        return tf.where(finite, result, tf.constant(np.nan, w.dtype))

    def check_shape(self, shape):
        """Refuse a weight whose shape the constraint does not fit."""
        if len(shape) != 2:
            raise ValueError(
                f"{type(self).__name__} constrains matrices. Received: w.shape={tuple(shape)}"
            )

    def project(self, w, dtype):
        """`w` in float64 -> (where it is inside already, the projection); `dtype` stores it."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `project`.")


def rounded_down(values, dtype):
    """The largest normal numbers (or 0) of a TensorFlow dtype that are not above `values`."""
    kind = dtype.as_numpy_dtype
    stored = np.asarray(values, np.float64).astype(kind)
    below = np.nextafter(stored, np.array(-np.inf, kind))
    stored = np.where(stored.astype(np.float64) > values, below, stored)
    # TensorFlow takes subnormal numbers for 0.
    tiny = ml_dtypes.finfo(kind).tiny
    lowest = np.where(np.asarray(values) < 0.0, -tiny, np.array(0.0, kind))
    return np.where(np.abs(stored) < tiny, lowest, stored).astype(kind)


def spectral_norm_slack(shape):
    """How far, in relative terms, a float64 singular value may be off (LAPACK's and Eigen's)."""
    return 8.0 * max(shape) * EPSILON


def _margin(dtype, entries):
    """(relative, absolute) perturbation of a norm when `entries` values are rounded to `dtype`.

    A value is off by half a unit in the last place, relative to itself, or below the normal numbers
    by half the smallest one. Twice that is given, which covers float64's own rounding beside it.
    """
    info = ml_dtypes.finfo(dtype.as_numpy_dtype)
    eps = float(info.eps)
    return eps, float(info.tiny) * eps * entries


@keras.saving.register_keras_serializable(package="rnnzoo")
class SpectralNorm(Projection):
    r"""Projects a matrix onto $\{W : \|W\|_2 \le b\}$ by clipping its singular values at `b`.

    A weight that $\|W\|_F$, $\sqrt{\|W\|_1\|W\|_\infty}$ or $\|W^\top W\|_F^{1/2}$ shows to be
    inside costs no decomposition; else one up to twice the bound is projected by eigenvectors of
    its Gram matrix, one further outside by singular values.

    Args:
        bound: The bound `b`, in [1e-60, 1e60], whose fourth powers float64 can hold.

    Raises:
        ValueError, TypeError: For a bound out of its range or of the wrong type, or a weight that
            is no matrix. `InvalidArgumentError` at run time for a weight that is not finite.

    Example:

    >>> import numpy as np
    >>> w = SpectralNorm(0.5)(np.diag([3.0, 0.25]).astype("float32"))
    >>> np.round(w.numpy(), 4).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """

    def __init__(self, bound):
        self.bound = _checks.real("bound", bound, 1e-60, 1e60)

    def project(self, w, dtype):
        size = tf.abs(w)
        norms = (
            tf.norm(w),
            tf.sqrt(tf.reduce_max(tf.reduce_sum(size, 0)) * tf.reduce_max(tf.reduce_sum(size, 1))),
        )
        slack, target = self._slack(w.shape), self._target(w.shape, dtype)
        clear = tf.minimum(*norms) * (1.0 + slack) <= self.bound
        near = tf.minimum(*norms) <= FAR * self.bound
        return tf.cond(
            clear,
            lambda: (tf.constant(True), w),
            lambda: tf.cond(
                near,
                lambda: self._by_gram(w, slack, target),
                lambda: (tf.constant(False), _clipped(w, target)),
            ),
        )

    def _by_gram(self, w, slack, target):
        r"""By eigenvectors of the smaller Gram matrix: half the cost of the singular values.

        $U \min(\Sigma, t) V^\top = W V \operatorname{diag}(\min(1, t / \sigma)) V^\top$. Squares
        lose the small singular values, which are not to change; at up to twice the bound those
        that are clipped are exact to the float64 of the largest.
        """
        wide = w.shape[0] < w.shape[1]
        gram = tf.matmul(w, w, transpose_a=not wide, transpose_b=wide)
        clear = tf.sqrt(tf.norm(gram)) * (1.0 + slack) <= self.bound
        return tf.cond(
            clear,
            lambda: (tf.constant(True), w),
            lambda: self._by_eigenvectors(w, gram, slack, target),
        )

    def _by_eigenvectors(self, w, gram, slack, target):
        squares, vectors = tf.linalg.eigh(gram)
        largest = tf.sqrt(squares[-1])
        wide = w.shape[0] < w.shape[1]

        def projected():
            excess = tf.nn.relu(1.0 - target / tf.sqrt(tf.maximum(squares, target**2)))
            if not _keras.under_xla():  # which knows no slices of a length that is computed
                first = tf.reduce_sum(tf.cast(excess == 0.0, tf.int32))
                kept, scale = vectors[:, first:], excess[first:]
            else:
                kept, scale = vectors, excess
            if wide:
                return w - tf.matmul(kept * scale, tf.matmul(kept, w, transpose_a=True))
            return w - tf.matmul(tf.matmul(w, kept) * scale, kept, transpose_b=True)

        inside = largest * (1.0 + slack) <= self.bound
        close = largest <= 2.0 * self.bound
        roads = [(inside, lambda: w), (close, projected)]
        return inside, tf.case(roads, default=lambda: _clipped(w, target))

    def _slack(self, shape):
        """How far, relative to it, a computed norm may be off.

        A Gram matrix is off by at most m roundings of the squared Frobenius norm, which is up to n
        times the squared 2-norm; its eigenvalues by `spectral_norm_slack` of the largest, which is
        up to four times the bound's square.
        """
        return 4.0 * shape[0] * shape[1] * EPSILON + 4.0 * spectral_norm_slack(shape)

    def _target(self, shape, dtype):
        """Where to clip, so that the stored result lies inside, and is seen to."""
        relative, absolute = _margin(dtype, np.sqrt(shape[0] * shape[1]))
        # The Frobenius norm of the rounding bounds its 2-norm; that of the result is at most
        # sqrt(rank) times the bound.
        margin = 1.0 + relative * np.sqrt(min(shape)) + 2.0 * self._slack(shape)
        return (self.bound - absolute) / margin

    def get_config(self):
        return {"bound": self.bound}


def _clipped(w, target):
    """The projection from any distance."""
    s, u, v = tf.linalg.svd(w)
    return tf.matmul(u * tf.minimum(s, target), v, transpose_b=True)


@keras.saving.register_keras_serializable(package="rnnzoo")
class ColumnL1(Projection):
    r"""Projects each column of a matrix onto the l1 ball $\{v : \sum_k |v_k| \le r\}$.

    The columns fall into `len(radii)` groups of equal width (the gates of an LSTM), each with its
    radius. In Keras's `h @ kernel` a column is what feeds one unit, so this bounds the
    $\infty$-norm of the paper's matrix, whose rows the columns are. The projection subtracts a
    threshold from the absolute values of a column (Duchi et al., *Efficient projections onto the
    l1-ball*, 2008).

    Args:
        radii: A list of positive numbers, with None for a group that is free.

    Raises:
        ValueError, TypeError: For radii that are no such list, or a weight that is no matrix or
            whose columns do not fall into the groups. `InvalidArgumentError` at run time for a
            weight that is not finite.

    Example:

    >>> import numpy as np
    >>> w = ColumnL1([1.0, None])(np.array([[3.0, 3.0], [-2.5, 2.5]], "float32"))
    >>> np.round(w.numpy(), 4).tolist()
    [[0.75, 3.0], [-0.25, 2.5]]
    """

    def __init__(self, radii):
        self.radii = _groups("radii", radii)

    def check_shape(self, shape):
        super().check_shape(shape)
        _check_width(self, shape, len(self.radii))

    def project(self, w, dtype):
        rows, columns = w.shape
        radii = _repeat(self.radii, np.inf, columns)
        relative, absolute = _margin(dtype, rows)
        slack = 4.0 * rows * EPSILON
        targets = np.maximum(radii - absolute, 0.0) / (1.0 + relative + 2.0 * slack)
        targets = tf.constant(np.where(np.isinf(radii), 0.0, targets))  # free columns are inside
        size = tf.abs(w)
        # Below the largest entry, where the arithmetic is exact also for huge weights.
        below = size - tf.reduce_max(size, axis=0)
        ordered = tf.sort(below, axis=0, direction="DESCENDING")
        count = tf.range(1.0, rows + 1, dtype=w.dtype)[:, None]
        # The threshold that the k largest entries would need; the right k is the last at which
        # the k-th largest still lies above it, and there the threshold is largest.
        threshold = tf.reduce_max((tf.cumsum(ordered) - targets) / count, axis=0)
        projected = tf.sign(w) * tf.maximum(below - threshold, 0.0)
        return tf.reduce_sum(size, axis=0) * (1.0 + slack) <= radii, projected

    def get_config(self):
        return {"radii": self.radii}


@keras.saving.register_keras_serializable(package="rnnzoo")
class UpperBound(Projection):
    r"""Projects each entry of a vector onto the interval $(-\infty, b]$ of its group.

    Args:
        bounds: A list of numbers, with None for a group that is free; the entries fall into
            `len(bounds)` groups of equal width.

    Raises:
        ValueError, TypeError: For bounds that are no such list, or a weight that is no vector or
            does not fall into the groups. `InvalidArgumentError` at run time for a weight that is
            not finite.

    Example:

    >>> import numpy as np
    >>> UpperBound([0.5, None])(np.array([3.0, -9.0, 3.0, -9.0], "float32")).numpy().tolist()
    [0.5, -9.0, 3.0, -9.0]
    """

    def __init__(self, bounds):
        self.bounds = _groups("bounds", bounds, -np.inf)

    def check_shape(self, shape):
        if len(shape) != 1:
            raise ValueError(f"UpperBound constrains vectors. Received: w.shape={tuple(shape)}")
        _check_width(self, shape, len(self.bounds))

    def project(self, w, dtype):
        bounds = rounded_down(_repeat(self.bounds, np.inf, w.shape[0]), dtype).astype(np.float64)
        return w <= bounds, tf.constant(bounds)

    def get_config(self):
        return {"bounds": self.bounds}


def _groups(name, values, low=0.0):
    if not isinstance(values, (list, tuple)) or not values:
        raise TypeError(
            f"`{name}` must be a list of numbers or None, one a group. Received: {name}={values!r}"
        )
    return [v if v is None else _checks.real(name, v, low, low_open=True) for v in values]


def _check_width(constraint, shape, groups):
    if shape[-1] % groups:
        raise ValueError(
            f"The last axis of a weight under {type(constraint).__name__} must fall into {groups} "
            f"groups of equal width. Received: w.shape={tuple(shape)}"
        )


def _repeat(values, free, width):
    values = [free if v is None else v for v in values]
    return np.repeat(np.array(values, np.float64), width // len(values))
