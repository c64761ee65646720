"""The linear teacher: its matrices, its impulse response, and what it makes of its inputs.

Everything is in float64. A linear recurrence that starts at zero is a convolution with its impulse
response, so its outputs need no loop over time.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rnnzoo.initializers import moved_eigenvalues


class Teacher(NamedTuple):
    """h_t = A h_{t-1} + B x_t, y_t = C h_t + D x_t: `a [N, N]`, `b [N]`, `c [N]`, `d`."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: float
    eigenvalues: np.ndarray

    def response(self, length):
        """The outputs `[length]` for the input 1, 0, 0, ...: C A^j B, and D in the first."""
        values, vectors = np.linalg.eig(self.a)
        weights = (self.c @ vectors) * np.linalg.solve(vectors, self.b)
        powers = values[None, :] ** np.arange(length)[:, None]
        found = (powers @ weights).real
        found[0] += self.d
        return found


def draw(nu_0, theta_0, state_size, seed):
    """A teacher whose eigenvalues have moduli from `nu_0` to 1 and angles up to `theta_0`."""
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal
    a = normal((state_size, state_size)) / np.sqrt(state_size)
    a = moved_eigenvalues(a, nu_0, theta_0)
    b = normal(state_size)
    c = normal(state_size) / np.sqrt(state_size)
    return Teacher(a, b, c, float(normal()), np.linalg.eigvals(a))


def coloring(rho, length):
    """Gains and impulse response that make white noise one of autocorrelation ``rho^|d|``.

    x_0 = e_0 and x_t = rho x_{t-1} + sqrt(1 - rho^2) e_t, whose variance is 1 from the start.
    """
    gain = np.full(length, np.sqrt(1 - rho**2))
    gain[0] = 1.0
    return gain, rho ** np.arange(length)


def convolve(inputs, response):
    """The causal convolution `[B, T]` of float64 inputs `[B, T]` with `response [T]`."""
    length = len(response)
    size = [2 * length]  # room for the whole convolution, so that its end does not wrap around
    response = tf.signal.rfft(tf.constant(response, tf.float64), size)
    spectrum = tf.signal.rfft(inputs, size) * response
    return tf.signal.irfft(spectrum, size)[:, :length]


def output_power(response, rho):
    """E[y_t^2] `[T]` for inputs of variance 1 and autocorrelation ``rho^|d|``.

    E[y_t^2] = sum over i, j <= t of k_i k_j rho^|i - j|, as a running sum over the last index.
    """
    power, total, earlier = np.empty(len(response)), 0.0, 0.0
    for t, k in enumerate(response):
        total += k * (k + 2 * earlier)  # `earlier` is the sum over i < t of k_i rho^(t - i)
        earlier = rho * (earlier + k)
        power[t] = total
    return power
