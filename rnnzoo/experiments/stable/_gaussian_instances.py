r"""Random instances of the stable RNN of `stable/approximation`, many at once, in NumPy float64.

$$h_t = \tanh(W h_{t-1} + U x_t),\quad \|W\|_2 \le \lambda,\qquad
  p = \tfrac12 (c^\top h_T - y)^2$$

Arrays begin with the axes [S, K]: S instances, and K models of each, which differ in how many of
the last steps they see. Axes of size 1 stand for weights that the K models share.
"""

from typing import NamedTuple

import numpy as np


class Instances(NamedTuple):
    """What is drawn once: recurrent [S, 1, n, n], kernel [S, 1, n, d], readout [S, 1, n]."""

    recurrent: np.ndarray
    kernel: np.ndarray
    readout: np.ndarray


def draw(generators, n, d, contraction):
    """Gaussian weights of variance 1/n (the kernel's: 1/d), the recurrent ones projected."""
    parts = []
    for random in generators:
        recurrent = random.normal(size=(n, n)) / np.sqrt(n)
        kernel, readout = random.normal(size=(n, d)) / np.sqrt(d), random.normal(size=n)
        parts.append((project(recurrent, contraction), kernel, readout / np.sqrt(n)))
    return Instances(*(np.stack(part)[:, None] for part in zip(*parts)))


def project(recurrent, contraction):
    """Singular values above `contraction` are clipped to it: the nearest stable matrix."""
    u, s, v = np.linalg.svd(recurrent)
    return (u * np.minimum(s, contraction)[..., None, :]) @ v


def gradients(recurrent, kernel, readout, x, y, last):
    """The gradients of p for the K models that see the `last` K numbers of steps.

    Args:
        recurrent, kernel: [S, K or 1, n, n], [S, K or 1, n, d].
        readout: [S, 1, n].
        x, y: [S, T, d], [S].
        last: K integers, at most T; `last = T` is the recurrent model.

    Returns:
        Those by recurrent and by kernel, [S, K, n, n] and [S, K, n, d].
    """
    time = x.shape[1]
    driven = x[:, None] @ np.swapaxes(kernel, -1, -2)  # [S, K, T, n]
    states = np.zeros((len(x), len(last), time + 1, readout.shape[-1]))
    seen = np.arange(time)[:, None] >= time - np.asarray(last)  # [T, K]
    for t in range(time):
        before = states[:, :, t, :, None]
        step = np.tanh(driven[:, :, t] + (recurrent @ before)[..., 0])
        states[:, :, t + 1] = step * seen[t][:, None]
    error = np.sum(readout * states[:, :, -1], -1) - y[:, None]
    back = error[..., None] * readout
    inner = np.zeros(states[:, :, 1:].shape)  # gradients by the preactivations
    for t in reversed(range(time)):
        inner[:, :, t] = back * (1.0 - states[:, :, t + 1] ** 2) * seen[t][:, None]
        back = (inner[:, :, t, None] @ recurrent)[..., 0, :]
    inner = np.swapaxes(inner, -1, -2)
    return inner @ states[:, :, :-1], inner @ x[:, None]


def gap_constants(kernel_norm, readout_norm, input_bound, target_bound, n, contraction):
    r"""The constant $\gamma$ in (gradient gap) $\le \gamma k \lambda^k$, derived for this model.

    With $H \ge \|h\|$, $B \ge \|x\|$, $G \ge |c^\top h - y| \|c\|$ and $h^k$ the truncated states:
    j steps back the states differ by at most $\lambda^{k-j} H$; so does the error by
    $\|c\| \lambda^k H$, and tanh' by twice the states' difference. Backwards through the steps the
    gradients by the preactivations then differ by at most
    $\lambda^{k+j} \|c\|^2 H + 2 H G \lambda^k / (1-\lambda)$ in the k steps that both see, and are
    at most $\lambda^j G$ beyond. Summed with the states and inputs they are multiplied by,

    $$\Delta_W \le \lambda^k \Big[\tfrac{\|c\|^2 H^2 + G H}{1-\lambda}
        + k \Big(\tfrac{2 H^2 G}{1-\lambda} + \tfrac{G H}{\lambda}\Big)\Big],\qquad
      \Delta_U \le \lambda^k B\, \tfrac{\|c\|^2 H + G + 2 k H G}{1-\lambda}$$
    """
    rest = 1.0 - contraction
    h = np.minimum(np.sqrt(n), kernel_norm * input_bound / rest)
    g = (readout_norm * h + target_bound) * readout_norm
    first = readout_norm**2 * h + g
    by_recurrent = first * h / rest + 2.0 * h**2 * g / rest + g * h / contraction
    by_kernel = input_bound * (first + 2.0 * h * g) / rest
    return np.hypot(by_recurrent, by_kernel)
