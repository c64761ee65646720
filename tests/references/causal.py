"""The causal feed-forward layers in float64, one output and one tap at a time.

Weights come as `{name of the convolution: (kernel, gain or None, bias)}`.
"""

import numpy as np


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def _relu(z):
    return np.maximum(z, 0.0)


def convolution(x, kernel, gain, bias, dilation=1):
    """y[t] = b + sum_j x[t - (k-1-j) d] W[j], with zeros before the beginning."""
    kernel = kernel.astype("float64")
    if gain is not None:
        kernel = np.stack(
            [
                gain[o] * kernel[:, :, o] / np.linalg.norm(kernel[:, :, o])
                for o in range(kernel.shape[2])
            ],
            2,
        )
    y = np.zeros([x.shape[0], x.shape[1], kernel.shape[2]]) + bias
    for t in range(x.shape[1]):
        for j in range(len(kernel)):
            source = t - (len(kernel) - 1 - j) * dilation
            if source >= 0:
                y[:, t] += x[:, source] @ kernel[j]
    return y


def _glu(x, weights, units):
    kernel, gain, bias = weights
    first = kernel[:, :, :units], None if gain is None else gain[:units], bias[:units]
    second = kernel[:, :, units:], None if gain is None else gain[units:], bias[units:]
    return convolution(x, *first) * _sigmoid(convolution(x, *second))


def tcn(x, weights, levels):
    for level in range(levels):
        z = x
        for i in (1, 2):
            z = _relu(convolution(z, *weights[f"level{level}_conv{i}"], dilation=2**level))
        if level == 0 and "residual" in weights:
            x = convolution(x, *weights["residual"])
        x = _relu(z + x)
    return x


def gated_conv(x, weights, levels, units, bottleneck=None):
    for level in range(levels):
        z = x
        if bottleneck:
            z = _glu(z, weights[f"level{level}_narrow"], bottleneck)
        z = _glu(z, weights[f"level{level}_conv"], bottleneck or units)
        if bottleneck:
            z = _glu(z, weights[f"level{level}_widen"], units)
        if level == 0 and "residual" in weights:
            x = convolution(x, *weights["residual"])
        x = z + x
    return x


def wave_net(x, weights, levels, repeats, units, skip_units):
    x = convolution(x, *weights["input_conv"])
    skips = np.zeros([*x.shape[:2], skip_units])
    for block in range(levels * repeats):
        z = convolution(x, *weights[f"block{block}_conv"], dilation=2 ** (block % levels))
        z = np.tanh(z[..., :units]) * _sigmoid(z[..., units:])
        out = convolution(z, *weights[f"block{block}_out"])
        skips += out[..., :skip_units]
        if block < levels * repeats - 1:
            x = x + out[..., skip_units:]
    return _relu(convolution(_relu(skips), *weights["head"]))
