"""An LRU layer in JAX, over `lax.scan` and `lax.associative_scan`, and its kin over `lax.scan`.

Each is the faster of the ways tried: `lax.scan` over pairs of real arrays (complex ones, and
`unroll`, are slower on a CPU), `associative_scan` over complex ones with the eigenvalues not
spread over the batch. Projections are real products over all steps at once.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.peers import data


def scan_states(lambda_re, lambda_im, z_re, z_im):
    """States of h_t = lambda h_{t-1} + z_t for z `[T, B, N]`, step by step."""

    def step(h, z):
        re = lambda_re * h[0] - lambda_im * h[1] + z[0]
        im = lambda_re * h[1] + lambda_im * h[0] + z[1]
        return (re, im), (re, im)

    zero = jnp.zeros(z_re.shape[1:], z_re.dtype)
    return lax.scan(step, (zero, zero), (z_re, z_im))[1]


def associative_states(lambda_re, lambda_im, z_re, z_im):
    """The same as a parallel prefix."""

    def join(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    eigenvalues = lax.complex(lambda_re, lambda_im)
    factors = jnp.broadcast_to(eigenvalues, (len(z_re), 1, len(eigenvalues)))
    h = lax.associative_scan(join, (factors, lax.complex(z_re, z_im)), axis=0)[1]
    return h.real, h.imag


STATES = {"scan": scan_states, "associative_scan": associative_states}


def apply(weights, x, kind):
    """The layer's outputs for `x [B, T, F]`; `weights` by the names of `rnnzoo.layers.LRU`."""
    radius = jnp.exp(-jnp.exp(weights["nu_log"]))
    angle = jnp.exp(weights["theta_log"])
    gamma = jnp.exp(weights["gamma_log"])[:, None]
    eigenvalues = radius * jnp.cos(angle), radius * jnp.sin(angle)
    return _diagonal(weights, x, eigenvalues, gamma, STATES[kind])


def apply_complex(weights, x):
    """A ComplexRNN: the eigenvalues are weights, and nothing is normalised."""
    return _diagonal(weights, x, weights["lambda_re_im"], 1.0, scan_states)


def _diagonal(weights, x, eigenvalues, gamma, states):
    x = x.transpose(1, 0, 2)
    z = x @ (weights["B_re"] * gamma).T, x @ (weights["B_im"] * gamma).T
    re, im = states(*eigenvalues, *z)
    y = re @ weights["C_re"].T - im @ weights["C_im"].T + weights["D"] * x
    return y.transpose(1, 0, 2)


def apply_block(weights, x):
    """An LRUBlock in training, without dropout: batch norm, LRU, GELU, GLU, skip."""
    mean, variance = x.mean((0, 1)), x.var((0, 1))
    z = (x - mean) * lax.rsqrt(variance + 1e-3) * weights["gamma"] + weights["beta"]
    y = jax.nn.gelu(apply(weights, z, "scan"), approximate=False)
    value = y @ weights["value_kernel"] + weights["value_bias"]
    return x + value * jax.nn.sigmoid(y @ weights["gate_kernel"] + weights["gate_bias"])


def apply_linear(weights, x):
    """A dense linear RNN between its projections."""
    x = x.transpose(1, 0, 2)
    a = weights["A"][0].T

    def step(h, z):
        h = h @ a + z
        return h, h

    states = lax.scan(step, jnp.zeros_like(x[0]), x @ weights["B"].T)[1]
    return (states @ weights["C"].T + weights["D"] * x).transpose(1, 0, 2)


def lru(batch, steps, size, kind):
    """Forward and backward, jit: gradients of all weights and of the input."""
    forward = functools.partial(apply, kind=kind)
    return gradients(forward, data.lru_weights(size), batch, steps, size)


def lru_block(batch, steps, size):
    return gradients(apply_block, data.lru_block_weights(size), batch, steps, size)


def complex_rnn(batch, steps, size):
    return gradients(apply_complex, data.complex_rnn_weights(size), batch, steps, size)


def linear_rnn(batch, steps, size):
    return gradients(apply_linear, data.linear_rnn_weights(size), batch, steps, size)


def gradients(forward, weights, batch, steps, size):
    weights = {name: jnp.asarray(value) for name, value in weights.items()}
    x = jnp.asarray(data.sequences(batch, steps, size))
    upstream = jnp.asarray(data.sequences(batch, steps, size, seed=1))

    @jax.jit
    def run(weights, x, upstream):
        _, back = jax.vjp(forward, weights, x)
        return back(upstream)

    return lambda: jax.block_until_ready(run(weights, x, upstream))
