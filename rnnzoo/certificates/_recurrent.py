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

from rnnzoo.activations import facts
from rnnzoo.certificates._linear import LRU, LinearRNN
from rnnzoo.certificates._signals import NoBound, Norms, geometric, power, times, up
from rnnzoo.certificates._weights import (
    Affine,
    check_arithmetic,
    gate_weights,
    image,
    spectral,
    two_norm,
)
from rnnzoo.layers._gains import GRUGain, LSTMGain
from rnnzoo.layers._lru_cell import LRUCell
from rnnzoo.layers.linear_rnn import LinearRNNCell
from rnnzoo.layers.stable_lstm import StableLSTM, StableLSTMCell
from rnnzoo.layers.stable_rnn import StableRNNCell

MOST_STEPS = 64  # the longest r tried for a contraction of r steps


class SimpleRNN:
    r"""$h_t = \rho(x_t W + h_{t-1} U + b)$ in the 2-norm: $\lambda = L_\rho\|U\|_2$.

    $L = L_\rho\|W\|_2$, and $\|h\| \le \|\rho(x W + b)\| / (1 - \lambda)$, or at most
    $b \sqrt H$ where $|\rho| \le b$.
    """

    norm = "2"

    def __init__(self, cell, size):
        kernel, recurrent, bias = gate_weights(cell)
        self.units, activation = cell.units, cell.activation
        known = facts(activation)
        if known.lipschitz is None or not known.elementwise:
            raise NoBound("its activation has no known Lipschitz constant")
        self.slope = known.lipschitz
        self.inputs = times(self.slope, spectral(kernel))
        self.contraction = times(self.slope, spectral(recurrent))
        self.steps = 1 if self.contraction < 1.0 else None
        driven = image(activation, self.units, Affine(kernel, bias).size(size))
        two = times(driven.two, geometric(self.contraction, None))
        self.size = Norms.of(known.bound, two, self.units)
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
        return Norms.of(
            times(np.max(total), sup), times(up(two_norm(total), len(total)), sup), None
        )

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
        return Norms.of(np.max(h), up(two_norm(h), len(h)), self.units)


def _standard_gates(cell):
    if cell.activation is not keras.activations.tanh:
        raise NoBound("the bound is derived for activation='tanh'")
    if cell.recurrent_activation is not keras.activations.sigmoid:
        raise NoBound("the bound is derived for recurrent_activation='sigmoid'")


def _check_class(layer):
    """A cell says what a step is, but a layer of a class from elsewhere may do more than steps."""
    for name in ("call", "inner_loop", "recur", "get_initial_state"):
        method = getattr(type(layer), name, None)
        if method and method.__module__.split(".")[0] not in ("keras", "rnnzoo"):
            raise NoBound(f"its class has a method `{name}` of its own")


def analysis(layer, size):
    """The class above that fits the cell of `layer`, for inputs of `Norms` `size`."""
    _check_class(layer)
    cell = layer.cell
    for part in (layer, cell):
        if isinstance(part, keras.layers.Layer):
            check_arithmetic(part)
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
    if kind is LinearRNNCell:
        return LinearRNN(cell, size)
    raise NoBound(f"no bound is derived for a {kind.__name__}")
