r"""Lemma 1 for each recurrent cell: how a cut state, and an error of the inputs, reach the output.

Both models start at zero. The truncated one sets its state to zero k steps back and runs the same
step $\phi$ on inputs that are off by at most $e$. With $\phi$ a $\lambda$-contraction in the state
and $L$-Lipschitz in the input on the set that both states stay in,

$$\|s_t - s^k_t\| \le \lambda \|s_{t-1} - s^k_{t-1}\| + L e \quad\Rightarrow\quad
  \|s_t - s^k_t\| \le \lambda^k \|s_{t-k}\| + L e \sum_{j<k} \lambda^j,$$

because $s^k_{t-k} = 0$; before step k nothing was cut, and the second term alone is there. Each
class gives the first term as `decay(k)`, with its bound `start` of $\|s_{t-k}\|$, and the second as
`response(k, e)`, both as `Norms` of the layer's output. `contraction` is $\lambda$ of one step in
`norm`; `steps` is the first r at which r steps contract, or None.
"""

import math

import keras
import numpy as np

from rnnzoo._certificates.signals import NoBound, Norms, geometric, plus, power, times, up
from rnnzoo.layers._gains import GRUGain, LSTMGain
from rnnzoo.layers._lru_cell import LRUCell
from rnnzoo.layers._recurrent import HALF_PRECISION
from rnnzoo.layers.constraints import spectral_norm_slack
from rnnzoo.layers.stable_lstm import StableLSTM, StableLSTMCell
from rnnzoo.layers.stable_rnn import LIPSCHITZ, StableRNNCell

# Activations whose values lie in [-b, b].
BOUNDED = {"tanh": 1.0, "sigmoid": 1.0, "hard_sigmoid": 1.0, "hard_tanh": 1.0, "softsign": 1.0}
BOUNDED |= {"relu6": 6.0, "sparse_sigmoid": 1.0}
MOST_STEPS = 64  # the longest r tried for a contraction of r steps


def spectral(matrix):
    """An upper bound of the largest singular value."""
    if not matrix.size:
        return 0.0
    return float(np.linalg.norm(matrix, 2)) * (1.0 + spectral_norm_slack(matrix.shape))


def stored(layer, *names):
    """Weights in float64; refused where one is not finite."""
    values = [np.asarray(keras.ops.convert_to_numpy(getattr(layer, n)), np.float64) for n in names]
    for name, value in zip(names, values):
        if not np.isfinite(value).all():
            raise NoBound(f"its `{name}` is not finite")
    return values


def gate_weights(cell):
    """kernel, recurrent kernel and bias (or None)."""
    names = ("kernel", "recurrent_kernel", *(["bias"] if cell.use_bias else []))
    return (*stored(cell, *names), None)[:3]


def image(activation, units, before):
    """`Norms` of activation(a) from those of `a`."""
    bound = BOUNDED.get(activation.__name__, math.inf)
    at_zero = abs(float(activation(keras.ops.zeros([], "float64")))) * (1.0 + 1e-6)
    slope = LIPSCHITZ[activation]
    sup = min(plus(times(slope, before.sup), at_zero), bound)
    two = plus(times(slope, before.two), up(at_zero * math.sqrt(units)))
    return Norms.of(sup, two, units)


def affine_size(kernel, bias, size):
    """`Norms` of x W + b from those of x."""
    columns = np.abs(kernel)
    one, two = columns.sum(0), np.sqrt((columns**2).sum(0))
    shift = np.zeros(kernel.shape[1]) if bias is None else np.abs(bias)
    sup = max(
        (plus(min(times(o, size.sup), times(t, size.two)), b) for o, t, b in zip(one, two, shift)),
        default=0.0,
    )
    both = plus(times(spectral(kernel), size.two), float(np.linalg.norm(shift)))
    return Norms.of(up(sup, len(kernel)), up(both, len(shift)), kernel.shape[1])


class SimpleRNN:
    r"""$h_t = \rho(x_t W + h_{t-1} U + b)$ in the 2-norm: $\lambda = L_\rho\|U\|_2$.

    $L = L_\rho\|W\|_2$, and $\|h\| \le \|\rho(x W + b)\| / (1 - \lambda)$, or at most
    $b \sqrt H$ where $|\rho| \le b$.
    """

    norm = "2"

    def __init__(self, cell, size):
        kernel, recurrent, bias = gate_weights(cell)
        self.units, activation = cell.units, cell.activation
        if activation not in LIPSCHITZ:
            raise NoBound("its activation has no known Lipschitz constant")
        self.slope = LIPSCHITZ[activation]
        self.inputs = times(self.slope, spectral(kernel))
        self.contraction = times(self.slope, spectral(recurrent))
        self.steps = 1 if self.contraction < 1.0 else None
        driven = image(activation, self.units, affine_size(kernel, bias, size))
        bound = BOUNDED.get(activation.__name__, math.inf)
        two = times(driven.two, geometric(self.contraction, None))
        self.size = Norms.of(bound, two, self.units)
        self.start = self.size.two

    def decay(self, k):
        return Norms.of(math.inf, times(power(self.contraction, k), self.start), self.units)

    def response(self, k, error):
        gain = times(self.inputs, geometric(self.contraction, k))
        return Norms.of(math.inf, times(gain, error.two), self.units)


class Gated:
    """LSTM and GRU in the sup-norm, by the entrywise bounds of `rnnzoo.layers._gains`.

    `decay(k)` is $T^k$ of the set's corner, and the response of k steps the sum of $T^j(T(0, 1))$.
    """

    norm = "sup"

    def __init__(self, gain, input_bound=math.inf):
        self.gain, self.units, self.input_bound = gain, gain.units, input_bound
        self.size = Norms.of(1.0, math.inf, self.units)
        self.start = float(np.max(gain.start))
        gains, moved = [], np.ones_like(gain.start)
        for _ in range(MOST_STEPS):
            moved = gain.step(moved)
            gains.append(float(np.max(moved)))
            if gains[-1] < 1.0 or not np.isfinite(gains[-1]):
                break
        self.contraction = gains[0]
        self.steps = len(gains) if gains[-1] < 1.0 else None
        self._all_steps = math.fsum([1.0, *gains[:-1]]) / (1.0 - gains[-1]) if self.steps else None
        zero = np.zeros_like(gain.start)
        self._cut, self._moved = [gain.start], [gain.step(zero, 1.0)]
        self._sums = [zero, self._moved[0]]

    def decay(self, k):
        while len(self._cut) <= k:
            self._cut.append(self.gain.step(self._cut[-1]))
        return self._norms(self._cut[k])

    def response(self, k, error):
        total = self._sum(k)[: self.units]
        # The inputs of both models are clipped.
        sup = min(error.sup, 2.0 * self.input_bound)
        return Norms.of(times(np.max(total), sup), times(up(_two(total), len(total)), sup), None)

    def _sum(self, k):
        if k is None:
            return self._limit()
        while len(self._sums) <= k:
            self._moved.append(self.gain.step(self._moved[-1]))
            self._sums.append((self._sums[-1] + self._moved[-1]) * (1.0 + 4.0 * 2.3e-16))
        return self._sums[k]

    def _limit(self):
        """Of all steps: those after the J-th at most max T^J(T(0, 1)) times the sum of T^j(1)."""
        if self.steps is None:
            return np.full_like(self.gain.start, np.inf)
        k = 64 * self.steps
        total = self._sum(k)
        return total + np.max(self._moved[k - 1]) * self._all_steps * (1.0 + 1e-12)

    def _norms(self, state):
        h = state[: self.units]
        return Norms.of(np.max(h), up(_two(h), len(h)), self.units)


def _two(values):
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.sum(np.square(values))))


class LRU:
    r"""$h_t = \lambda \odot h_{t-1} + b\,x_t$, $y_t = \Re[C h_t] + D x_t$, entry by entry.

    $|h_j| \le \|b_j\| \|x\| / (1 - |\lambda_j|)$, an error of it after k steps $|\lambda_j|^k$ of
    that. $\|\Re[C \Delta h]\|_2 \le \min(\| |C| v \|_2, \|C\|_2 \|v\|_2)$ if $|\Delta h| \le v$.
    The weights are those that the layer's arithmetic has, and a few roundings of it more.
    """

    norm = "2"

    def __init__(self, cell, size):
        matrices = [np.asarray(keras.ops.convert_to_numpy(m), np.float64) for m in cell.matrices()]
        if not all(np.isfinite(m).all() for m in matrices):
            raise NoBound("a weight of it is not finite")
        re, im, b, c, d = matrices
        grown = 1.0 + 8.0 * float(np.finfo(cell.state_dtype).eps)
        n, self.units = cell.n, cell.units
        exact = np.abs(cell.eigenvalues())
        self.moduli = np.maximum(np.hypot(re, im), exact) * grown
        self.contraction = float(np.max(self.moduli))
        self.steps = 1 if self.contraction < 1.0 else None
        parts = np.hypot(b[:, :n], b[:, n:])  # [F, N]
        self._b_sup, self._b_two = (
            up(v * grown, 2 * len(b)) for v in (parts.sum(0), np.sqrt((parts**2).sum(0)))
        )
        self._b = spectral(b) * grown
        self._c, self._c_norm = np.hypot(c[:n], c[n:]).T * grown, spectral(c)  # [units, N]
        d = np.diag(d) if d.ndim == 1 else d
        self._d = d
        driven = self._driven(size)
        with np.errstate(divide="ignore"):
            self._start = up(driven * self._sums(None))
        self.start = up(_two(self._start), n)
        skipped = affine_size(d, None, size)
        state = self._out(self._start)
        self.size = Norms.of(plus(state.sup, skipped.sup), plus(state.two, skipped.two), self.units)

    def _driven(self, norms):
        """|B x| entry by entry."""
        by_sup = [times(b, norms.sup) for b in self._b_sup]
        return np.minimum(by_sup, [times(b, norms.two) for b in self._b_two])

    def _sums(self, k):
        return np.array([geometric(m, k) for m in self.moduli])

    def _out(self, state):
        r"""Of $\Re[C h]$ where $|h|$ is at most `state`."""
        if not np.isfinite(state).all():
            return Norms(math.inf, math.inf)
        entries = up(self._c @ state, len(state))
        two = min(up(_two(entries), self.units), times(self._c_norm, up(_two(state), len(state))))
        return Norms.of(np.max(entries), two, self.units)

    def decay(self, k):
        powers = np.array([power(m, k) for m in self.moduli])
        return self._out(np.array([times(p, s) for p, s in zip(powers, self._start)]))

    def response(self, k, error):
        entries = np.array([times(s, v) for s, v in zip(self._sums(k), self._driven(error))])
        state = self._out(entries)
        whole = times(self._c_norm, times(self._b, geometric(self.contraction, k)))
        skipped = affine_size(self._d, None, error)
        two = min(state.two, times(whole, error.two))
        return Norms.of(plus(min(state.sup, two), skipped.sup), plus(two, skipped.two), self.units)


def _standard_gates(cell):
    if cell.activation is not keras.activations.tanh:
        raise NoBound("the bound is derived for activation='tanh'")
    if cell.recurrent_activation is not keras.activations.sigmoid:
        raise NoBound("the bound is derived for recurrent_activation='sigmoid'")


def analysis(layer, size):
    """The class above that fits the cell of `layer`, for inputs of `Norms` `size`."""
    cell = layer.cell
    if getattr(cell, "compute_dtype", layer.compute_dtype) in [d.name for d in HALF_PRECISION]:
        raise NoBound(f"it computes in {layer.compute_dtype}, whose rounding no bound here covers")
    if not layer.built:
        raise NoBound("it is not built")
    kind = type(cell)  # a subclass may compute something else
    if kind in (keras.layers.SimpleRNNCell, StableRNNCell):
        return SimpleRNN(cell, size)
    if kind is StableLSTMCell:
        bound = min(size.sup, cell.input_bound)
        known = isinstance(layer, StableLSTM)
        gain = layer.gain(bound) if known else LSTMGain(*gate_weights(cell), bound)
        return Gated(gain, cell.input_bound)
    if kind is keras.layers.LSTMCell:
        _standard_gates(cell)
        return Gated(LSTMGain(*gate_weights(cell), size.sup))
    if kind is keras.layers.GRUCell:
        _standard_gates(cell)
        return Gated(GRUGain(*gate_weights(cell), size.sup, cell.reset_after))
    if kind is LRUCell:
        return LRU(cell, size)
    raise NoBound(f"no bound is derived for a {kind.__name__}")
