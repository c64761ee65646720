"""Lemma 1 for the linear recurrences; what a class here provides is said in `recurrent`."""

import math

import keras
import numpy as np

from rnnzoo.certificates._signals import ZERO, NoBound, Norms, geometric, plus, power, times, up
from rnnzoo.certificates._weights import Affine, spectral, two_norm


def _matrices(cell):
    matrices = [np.asarray(keras.ops.convert_to_numpy(m), np.float64) for m in cell.matrices()]
    if not all(np.isfinite(m).all() for m in matrices):
        raise NoBound("a weight of it is not finite")
    return matrices


class LRU:
    r"""$h_t = \lambda \odot h_{t-1} + b\,x_t$, $y_t = \Re[C h_t] + D x_t$, entry by entry.

    $|h_j| \le \|b_j\| \|x\| / (1 - |\lambda_j|)$, an error of it after k steps $|\lambda_j|^k$ of
    that. $\|\Re[C \Delta h]\|_2 \le \min(\| |C| v \|_2, \|C\|_2 \|v\|_2)$ if $|\Delta h| \le v$.
    The weights are those that the layer's arithmetic has, and a few roundings of it more.
    """

    norm = "2"

    def __init__(self, cell, size):
        *_, b, c, d = _matrices(cell)
        grown = 1.0 + 8.0 * float(np.finfo(cell.state_dtype).eps)
        n, self.units = cell.n, cell.units
        self.moduli = cell.moduli()
        self.contraction = float(np.max(self.moduli))
        self.steps = 1 if self.contraction < 1.0 else None
        parts = np.hypot(b[:, :n], b[:, n:])  # [F, N]
        self._b_sup, self._b_two = (
            up(v * grown, 2 * len(b)) for v in (parts.sum(0), np.sqrt((parts**2).sum(0)))
        )
        self._b = spectral(b) * grown
        self._c, self._c_norm = np.hypot(c[:n], c[n:]).T * grown, spectral(c)  # [units, N]
        self._skip = Affine(d)
        driven = self._driven(size)
        self._start = np.array([times(s, v) for s, v in zip(self._sums(None), driven)])
        self.start = up(two_norm(self._start), n)
        skipped = self._skip.size(size)
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
        two = min(
            up(two_norm(entries), self.units), times(self._c_norm, up(two_norm(state), len(state)))
        )
        return Norms.of(np.max(entries), two, self.units)

    def decay(self, k):
        powers = np.array([power(m, k) for m in self.moduli])
        return self._out(np.array([times(p, s) for p, s in zip(powers, self._start)]))

    def response(self, k, error):
        entries = np.array([times(s, v) for s, v in zip(self._sums(k), self._driven(error))])
        state = self._out(entries)
        whole = times(self._c_norm, times(self._b, geometric(self.contraction, k)))
        skipped = self._skip.error(error)
        two = min(state.two, times(whole, error.two))
        return Norms.of(plus(min(state.sup, two), skipped.sup), plus(two, skipped.two), self.units)


class LinearRNN:
    r"""$h_t = A h_{t-1} + B x_t$, $y_t = C h_t + D x_t$ in the 2-norm: $\lambda = \|A\|_2$."""

    norm = "2"

    def __init__(self, cell, size):
        a, b, c, d = _matrices(cell)
        self.units, self.contraction = cell.units, spectral(a)
        self.steps = 1 if self.contraction < 1.0 else None
        self._b, self._c, self._skip = spectral(b), Affine(c), Affine(d)
        self.start = times(times(self._b, size.two), geometric(self.contraction, None))
        self.size = self._out(self.start, size)

    def _out(self, state, inputs):
        """Of C h + D x where the 2-norm of h is at most `state`."""
        shown, skipped = self._c.error(Norms(state, state)), self._skip.error(inputs)
        return Norms.of(plus(shown.sup, skipped.sup), plus(shown.two, skipped.two), self.units)

    def decay(self, k):
        return self._out(times(power(self.contraction, k), self.start), ZERO)

    def response(self, k, error):
        gain = times(self._b, geometric(self.contraction, k))
        return self._out(times(gain, error.two), error)
