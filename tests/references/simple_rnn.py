"""The simple recurrence in NumPy float64, by its definition; an adjoint derived on its own."""

import numpy as np

ACTIVATIONS = {
    "tanh": (np.tanh, lambda a: 1.0 / np.cosh(a) ** 2),
    "linear": (lambda a: a, np.ones_like),
    "relu": (lambda a: np.maximum(a, 0.0), lambda a: (a > 0).astype(a.dtype)),
    "sigmoid": (
        lambda a: 1.0 / (1.0 + np.exp(-a)),
        lambda a: np.exp(-a) / (1.0 + np.exp(-a)) ** 2,
    ),
    "softplus": (lambda a: np.log1p(np.exp(a)), lambda a: 1.0 / (1.0 + np.exp(-a))),
}


def values(x, h, kernel, recurrent, bias, activation="tanh", mask=None):
    """`(outputs, state)`, one row and one step at a time."""
    rho, _ = ACTIVATIONS[activation]
    outputs = np.zeros([*x.shape[:2], len(bias)])
    h = h.copy()
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            if mask is None or mask[b, t]:
                h[b] = rho(x[b, t] @ kernel + h[b] @ recurrent + bias)
            outputs[b, t] = h[b]
    return outputs, h


def gradients(arguments, upstream, activation="tanh", mask=None):
    """Of `sum(outputs * upstream[0]) + sum(state * upstream[1])`, one per argument."""
    x, h0, kernel, recurrent, bias = arguments
    outputs, _ = values(*arguments, activation, mask)
    _, slope = ACTIVATIONS[activation]
    d_x, d_h0, d_kernel, d_recurrent, d_bias = (np.zeros_like(a) for a in arguments)
    for b in range(x.shape[0]):
        d_h = upstream[1][b].copy()
        for t in reversed(range(x.shape[1])):
            d_h += upstream[0][b, t]
            if mask is not None and not mask[b, t]:
                continue
            before = outputs[b, t - 1] if t else h0[b]
            d_a = d_h * slope(x[b, t] @ kernel + before @ recurrent + bias)
            d_x[b, t] = kernel @ d_a
            d_kernel += np.outer(x[b, t], d_a)
            d_recurrent += np.outer(before, d_a)
            d_bias += d_a
            d_h = recurrent @ d_a
        d_h0[b] = d_h
    return d_x, d_h0, d_kernel, d_recurrent, d_bias
