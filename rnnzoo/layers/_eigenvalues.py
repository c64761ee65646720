"""How the eigenvalues of a diagonal recurrence are written as weights, drawn, and kept below 1.

Every parametrization is written once for `tf.math` (in the layer's precision, differentiable) and
for NumPy (in float64, for `eigenvalues()`): `xp` is one or the other.
"""

import keras
import ml_dtypes
import numpy as np
import tensorflow as tf

from rnnzoo import initializers

SMALLEST_MODULUS = 1e-30  # its logarithms are finite in float32, and so are their gradients
SMALLEST_TANH_MODULUS = 1e-6
SMALLEST_PHASE = 1e-12
LARGEST_PHASE = 1e4  # float32 still knows the angle to a thousandth there


def largest_modulus(dtype):
    """The largest |lambda| a weight may stand for: 1 less 8 units of rounding of `dtype`.

    Below it the rounded real and imaginary parts, too, stay inside the unit circle.
    """
    return 1.0 - 8.0 * float(ml_dtypes.finfo(tf.as_dtype(dtype).as_numpy_dtype).eps)


class Exponential:
    """lambda = exp(-exp(nu_log) + i exp(theta_log)), as published for the LRU."""

    names = ("nu_log", "theta_log")

    @staticmethod
    def decode(xp, nu_log, theta_log):
        """Weights -> (re lambda, im lambda, 1 - |lambda|^2)."""
        decay, phase = xp.exp(nu_log), xp.exp(theta_log)
        modulus = xp.exp(-decay)
        return modulus * xp.cos(phase), modulus * xp.sin(phase), -xp.expm1(-2.0 * decay)

    @staticmethod
    def encode(modulus, phase):
        """float64 NumPy moduli and phases -> weights."""
        return np.log(-np.log(modulus)), np.log(phase)

    @classmethod
    def constraints(cls, dtype):
        """One constraint a weight: the interval in which nothing rounds to 1, 0 or infinity."""
        nearest, _ = cls.encode(largest_modulus(dtype), 1.0)
        farthest, largest_phase = cls.encode(SMALLEST_MODULUS, LARGEST_PHASE)
        return Interval(nearest, farthest), Interval(np.log(SMALLEST_PHASE), largest_phase)


class Polar:
    """lambda = nu exp(i theta)."""

    names = ("nu", "theta")

    @staticmethod
    def decode(xp, nu, theta):
        return nu * xp.cos(theta), nu * xp.sin(theta), (1.0 - nu) * (1.0 + nu)

    @staticmethod
    def encode(modulus, phase):
        return modulus, phase

    @staticmethod
    def constraints(dtype):
        largest = largest_modulus(dtype)
        return Interval(-largest, largest), None


class Tanh:
    """|lambda| = tanh(omega_nu), arg lambda = omega_theta (1 - |l|^2) / (|l| sqrt(1 + |l|^2)).

    With normalised inputs the loss then has the same curvature at every eigenvalue.
    """

    names = ("omega_nu", "omega_theta")

    @staticmethod
    def decode(xp, omega_nu, omega_theta):
        modulus = xp.tanh(omega_nu)
        # (1 - tanh^2) / tanh = 2 / sinh(2 .), without the cancellation in 1 - tanh^2.
        phase = 2.0 * omega_theta / (xp.sinh(2.0 * omega_nu) * xp.sqrt(1.0 + modulus * modulus))
        secant = 1.0 / xp.cosh(omega_nu)
        return modulus * xp.cos(phase), modulus * xp.sin(phase), secant * secant

    @staticmethod
    def encode(modulus, phase):
        omega = np.arctanh(modulus)
        return omega, phase * np.sinh(2.0 * omega) * np.sqrt(1.0 + modulus**2) / 2.0

    @staticmethod
    def constraints(dtype):
        low, high = np.arctanh([SMALLEST_TANH_MODULUS, largest_modulus(dtype)])
        return Interval(low, high), None


class Cartesian:
    """lambda itself: re and im in one weight `[2, N]`, because the bound ties them together."""

    names = ("lambda_re_im",)

    @staticmethod
    def decode(xp, lambda_re_im):
        re, im = lambda_re_im[0], lambda_re_im[1]
        return re, im, 1.0 - re * re - im * im

    @staticmethod
    def encode(modulus, phase):
        return (np.stack([modulus * np.cos(phase), modulus * np.sin(phase)]),)

    @staticmethod
    def constraints(dtype):
        return (Disc(largest_modulus(dtype)),)


PARAMETRIZATIONS = {
    "exponential": Exponential,
    "polar": Polar,
    "tanh": Tanh,
    "cartesian": Cartesian,
}


class Interval(keras.constraints.Constraint):
    """Projects each entry onto [low, high]; what is not finite stays, for training to stop at."""

    def __init__(self, low, high):
        self.low, self.high = float(low), float(high)

    def __call__(self, w):
        w = tf.convert_to_tensor(w)
        return tf.where(tf.math.is_finite(w), tf.clip_by_value(w, self.low, self.high), w)

    def get_config(self):
        return {"low": self.low, "high": self.high}


class Disc(keras.constraints.Constraint):
    """Projects each column (re, im) of a `[2, N]` weight onto the disc of a radius around 0."""

    def __init__(self, radius):
        self.radius = float(radius)

    def __call__(self, w):
        w = tf.convert_to_tensor(w)
        wide = tf.cast(w, tf.float64)  # where the square of a large float32 does not overflow
        modulus = tf.sqrt(tf.reduce_sum(wide * wide, axis=0, keepdims=True))
        inside = tf.cast(wide * (self.radius / tf.maximum(modulus, self.radius)), w.dtype)
        return tf.where((modulus > self.radius) & tf.math.is_finite(w), inside, w)

    def get_config(self):
        return {"radius": self.radius}


def draw_ring(n, r_min, r_max, max_phase, seed, dtype):
    """`rnnzoo.initializers.draw_ring`, off the values that no weight can stand for in `dtype`."""
    modulus, phase = initializers.draw_ring(n, r_min, r_max, max_phase, seed)
    modulus = np.clip(modulus, SMALLEST_MODULUS, largest_modulus(dtype))
    return modulus, np.maximum(phase, SMALLEST_PHASE)
