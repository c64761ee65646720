"""The diagonal recurrence and the LRU in complex NumPy float64, one step at a time.

A gradient of a complex number v is dL/dRe v + i dL/dIm v.
"""

import numpy as np


def states(z, initial, eigenvalues, mask=None):
    """h_t of h_t = lambda h_{t-1} + z_t, `[B, T, N]`, and the last."""
    h, found = np.array(initial), np.zeros(z.shape, complex)
    for t in range(z.shape[1]):
        new = eigenvalues * h + z[:, t]
        h = new if mask is None else np.where(mask[:, t, None], new, h)
        found[:, t] = h
    return found, h


def states_gradients(upstream, final, found, initial, eigenvalues, mask=None):
    """Gradients of z, the initial state and the eigenvalues."""
    g, dz, total = (
        np.array(final),
        np.zeros(found.shape, complex),
        np.zeros(len(eigenvalues), complex),
    )
    for t in reversed(range(found.shape[1])):
        g = g + upstream[:, t]
        real = np.ones(len(g), bool) if mask is None else mask[:, t]
        dz[real, t] = g[real]
        before = found[:, t - 1] if t else initial
        total += (g[real] * np.conj(before[real])).sum(0)
        g = np.where(real[:, None], np.conj(eigenvalues) * g, g)
    return dz, g, total


def repeated(outputs, mask):
    """Outputs in which a masked step repeats the last real one; zeros before the first."""
    shown, last = np.zeros_like(outputs), np.zeros_like(outputs[:, 0])
    for t in range(outputs.shape[1]):
        last = np.where(mask[:, t, None], outputs[:, t], last)
        shown[:, t] = last
    return shown


def repeated_gradient(upstream, mask):
    g, waiting = np.zeros_like(upstream), np.zeros_like(upstream[:, 0])
    for t in reversed(range(upstream.shape[1])):
        waiting = waiting + upstream[:, t]
        g[:, t] = np.where(mask[:, t, None], waiting, 0)
        waiting = np.where(mask[:, t, None], 0, waiting)
    return g


def lru(x, initial, eigenvalues, gamma, b, c, d, mask):
    """(outputs, final state, states); `b [N, F]`, `c [units, N]` complex, `d [units, F]`."""
    found, last = states(gamma * (x @ b.T), initial, eigenvalues, mask)
    return repeated((found @ c.T).real + x @ d.T, mask), last, found


def lru_gradients(x, initial, eigenvalues, gamma, b, c, d, mask, upstream, final):
    """Gradients of x, initial, eigenvalues, gamma, b, c, d."""
    found = lru(x, initial, eigenvalues, gamma, b, c, d, mask)[2]
    dy = repeated_gradient(upstream, mask)
    dz, before, dl = states_gradients(dy @ np.conj(c), final, found, initial, eigenvalues, mask)
    dx = (dz @ (gamma[:, None] * np.conj(b))).real + dy @ d
    dgamma = (np.conj(dz) * (x @ b.T)).real.sum((0, 1))
    db = gamma[:, None] * np.einsum("btn,btf->nf", dz, x)
    dc = np.einsum("btu,btn->un", dy, np.conj(found))
    return dx, before, dl, dgamma, db, dc, np.einsum("btu,btf->uf", dy, x)


def _along(gradient, derivative):
    """What a real weight gets whose derivative of the complex value is `derivative`."""
    return (np.conj(gradient) * derivative).real


def _exponential(nu_log, theta_log):
    value = np.exp(-np.exp(nu_log) + 1j * np.exp(theta_log))
    slopes = -np.exp(nu_log) * value, 1j * np.exp(theta_log) * value
    return value, lambda g: [_along(g, s) for s in slopes]


def _polar(nu, theta):
    turn = np.exp(1j * theta)
    return nu * turn, lambda g: [_along(g, turn), _along(g, 1j * nu * turn)]


def _tanh(omega_nu, omega_theta):
    r = np.tanh(omega_nu)
    scale = (1 - r**2) / (r * np.sqrt(1 + r**2))
    scale_slope = -scale * (2 * r / (1 - r**2) + 1 / r + r / (1 + r**2))
    turn = np.exp(1j * omega_theta * scale)
    by_modulus = turn * (1 + 1j * r * omega_theta * scale_slope)
    slopes = by_modulus * (1 - r**2), 1j * r * turn * scale
    return r * turn, lambda g: [_along(g, s) for s in slopes]


def _cartesian(pair):
    return pair[0] + 1j * pair[1], lambda g: [np.stack([g.real, g.imag])]


# Weights -> (eigenvalues, gradient of the eigenvalues -> gradients of the weights)
PARAMETRIZATIONS = {
    "exponential": _exponential,
    "polar": _polar,
    "tanh": _tanh,
    "cartesian": _cartesian,
}
