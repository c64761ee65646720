"""The data that every peer gets: the same numbers, from a seed."""

import numpy as np

CLASSES = 10


def sequences(batch, steps, features, seed=0):
    """Standard normal `[B, T, F]`, float32."""
    return np.random.default_rng(seed).standard_normal([batch, steps, features], np.float32)


def labels(batch, steps, seed=1):
    """A class for every step, `[B, T]`."""
    return np.random.default_rng(seed).integers(0, CLASSES, [batch, steps])


def padded(batch, steps, features, seed=0):
    """As `sequences`, zero from a random length between T/2 and T on."""
    x = sequences(batch, steps, features, seed)
    lengths = np.random.default_rng(seed + 1).integers(steps // 2, steps + 1, batch)
    x[np.arange(steps) >= lengths[:, None]] = 0.0
    return x


def lru_weights(size, seed=0):
    """The weights of an LRU with N = F = `size`, by name, in the order of `rnnzoo.layers.LRU`."""
    draw = np.random.default_rng(seed)
    radius = draw.uniform(0.9, 0.999, size)
    weights = {
        "nu_log": np.log(-np.log(radius)),
        "theta_log": np.log(draw.uniform(0.01, 2 * np.pi, size)),
        "gamma_log": 0.5 * np.log1p(-(radius**2)),
        **{n: draw.standard_normal([size, size]) / (2 * size) ** 0.5 for n in ("B_re", "B_im")},
        **{n: draw.standard_normal([size, size]) / size**0.5 for n in ("C_re", "C_im")},
        "D": draw.standard_normal(size),
    }
    return {name: value.astype(np.float32) for name, value in weights.items()}


def complex_rnn_weights(size, seed=0):
    """Those of an LRU with the eigenvalues and input weights that it makes of them."""
    weights = lru_weights(size, seed)
    nu_log, theta_log, gamma_log = (weights.pop(n) for n in ("nu_log", "theta_log", "gamma_log"))
    eigenvalues = np.exp(-np.exp(nu_log) + 1j * np.exp(theta_log))
    for name in ("B_re", "B_im"):
        weights[name] *= np.exp(gamma_log)[:, None]
    return {"lambda_re_im": np.stack([eigenvalues.real, eigenvalues.imag]), **weights}


def lru_block_weights(size, seed=0):
    """Those of an LRU and what stands around it, in the order of `rnnzoo.layers.LRUBlock`."""
    draw = np.random.default_rng(seed + 1)
    row = {name: draw.uniform(0.5, 1.5, size) for name in ("gamma", "beta", "mean", "variance")}
    dense = {}
    for name in ("value", "gate"):
        dense[f"{name}_kernel"] = draw.standard_normal([size, size]) / size**0.5
        dense[f"{name}_bias"] = draw.standard_normal(size)
    around = {name: value.astype(np.float32) for name, value in {**row, **dense}.items()}
    return {**lru_weights(size, seed), **around}


def linear_rnn_weights(size, seed=0):
    """The weights of a dense linear RNN with N = F = `size`, as `rnnzoo.layers.LinearRNN` has them.

    An orthogonal matrix, shrunk, keeps the states of any length in range.
    """
    draw = np.random.default_rng(seed)
    orthogonal, _ = np.linalg.qr(draw.standard_normal([size, size]))
    b, c = (draw.standard_normal([size, size]) / size**0.5 for _ in range(2))
    weights = {"A": 0.99 * orthogonal[None], "B": b, "C": c, "D": draw.standard_normal(size)}
    return {name: value.astype(np.float32) for name, value in weights.items()}
