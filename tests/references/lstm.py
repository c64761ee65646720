"""The LSTM and its gradient, one gate and one step at a time."""

import numpy as np


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def values(x, h, c, kernel, recurrent_kernel, bias, mask=None):
    """Outputs, final h, final c, and what each step leaves for the way back."""
    units = h.shape[1]
    outputs, tape = [], []
    for t in range(x.shape[1]):
        z = x[:, t] @ kernel + h @ recurrent_kernel + bias
        i, f = _sigmoid(z[:, :units]), _sigmoid(z[:, units : 2 * units])
        g, o = np.tanh(z[:, 2 * units : 3 * units]), _sigmoid(z[:, 3 * units :])
        new_c = f * c + i * g
        new_h = o * np.tanh(new_c)
        real = np.ones([len(x), 1], bool) if mask is None else mask[:, t, None]
        tape.append((h, c, i, f, g, o, new_c, real))
        h, c = np.where(real, new_h, h), np.where(real, new_c, c)
        outputs.append(h)
    return np.stack(outputs, 1) if outputs else np.zeros([len(x), 0, units]), h, c, tape


def gradients(arguments, upstream, mask=None, keep_h=None, keep_c=None):
    """The gradient of sum(upstream * results) in the order of `arguments`."""
    x, h, c, kernel, recurrent_kernel, bias = arguments
    *_, tape = values(*arguments, mask=mask)
    steps = x.shape[1]
    keep_h = np.ones(steps, bool) if keep_h is None else keep_h
    keep_c = np.ones(steps, bool) if keep_c is None else keep_c
    d_outputs, d_h, d_c = (u.copy() for u in upstream)
    d_x, d_kernel = np.zeros_like(x), np.zeros_like(kernel)
    d_recurrent, d_bias = np.zeros_like(recurrent_kernel), np.zeros_like(bias)
    for t in reversed(range(steps)):
        h, c, i, f, g, o, new_c, real = tape[t]
        d_h = d_h + d_outputs[:, t]
        d_new_h, d_new_c = d_h * real, d_c * real
        tanh_c = np.tanh(new_c)
        d_o = d_new_h * tanh_c
        d_new_c = d_new_c + d_new_h * o * (1 - tanh_c**2)
        d_z = np.concatenate(
            [
                d_new_c * g * i * (1 - i),
                d_new_c * c * f * (1 - f),
                d_new_c * i * (1 - g**2),
                d_o * o * (1 - o),
            ],
            1,
        )
        d_x[:, t] = d_z @ kernel.T
        d_kernel += x[:, t].T @ d_z
        d_recurrent += h.T @ d_z
        d_bias += d_z.sum(0)
        d_h = d_h * ~real + (d_z @ recurrent_kernel.T) * keep_h[t]
        d_c = d_c * ~real + d_new_c * f * keep_c[t]
    return d_x, d_h, d_c, d_kernel, d_recurrent, d_bias
