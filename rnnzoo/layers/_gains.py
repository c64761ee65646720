r"""How fast gated recurrences forget: entrywise upper bounds of one step, in float64.

Each class here is an operator $T$ on non-negative vectors: where two states of the recurrence's
invariant set differ by at most $v$, entry by entry, and two inputs of the bounded size by at most
$e$ in every feature, the states after the step differ by at most $T(v, e)$, entry by entry. The
set is convex, so by the mean value theorem $|\Delta s_t| \le \int |J| \, |\Delta s_{t-1}|$ along
the segment between them, and $T(v, e)$ is the supremum of $|J| v$ over the values that the gates
can take, each unit for itself. As a supremum of linear maps without negative entries, $T$ is
monotone, homogeneous and subadditive:

- $r$ steps gain at most $\max T^r(\mathbf 1)$ in the sup-norm, never more than the $r$-th power
  of one step's, because $T(\mathbf 1) \le \lambda \mathbf 1$ gives
  $T^r(\mathbf 1) \le \lambda^r \mathbf 1$;
- errors add: $k$ steps give at most $T^k(v, 0) + e \sum_{j<k} T^j(T(0, 1), 0)$.

Every result is rounded up: sums of n non-negative numbers are off by less than n roundings.
"""

import numpy as np

EPSILON = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).tiny)  # more than what underflow takes from a sum of products


def sigmoid_above(reach, middle):
    """An upper bound of sigmoid(reach + middle), `reach` not negative; 1 where that is infinite."""
    logit = reach + middle + 8.0 * EPSILON * (reach + np.abs(middle))
    return np.minimum(0.5 * (1.0 + np.tanh(0.5 * logit)) * (1.0 + 8.0 * EPSILON) + EPSILON, 1.0)


def rounded_up(values, terms):
    """`values` times a factor that covers the rounding of sums of so many non-negative terms."""
    return values * (1.0 + (2.0 * terms + 32.0) * EPSILON)


def times_bound(sums, bound):
    """`sums * bound`, where no weight needs no bound: 0 times infinity is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(sums > 0.0, sums * bound, 0.0)


class LSTMGain:
    r"""$T$ for the LSTM, on $s = (h, c)$, $|h| \le 1$, $|c| \le C$.

    With $a_q = |U_q|^\top v_h + |W_q|^\top \mathbf 1\, e$ for each gate $q$,

    $$T_c = \sup_{f \le F} f\,(v_c + C (1 - f)\, a_f) + \max(a_i / 4, a_g),\qquad
      T_h = \max(a_o / 4, T_c),$$

    by the lemma in `StableLSTM`'s docstring, with $F$ the largest value of the forget gate:
    $F = \sigma(|U_f|^\top \mathbf 1 + |W_f|^\top \mathbf 1\, B_x + b_f)$.

    Args:
        kernel, recurrent, bias: as in `keras.layers.LSTM`, in float64; `bias` may be None.
        input_bound: the largest size of an input feature; infinity where it is not known.
        carry: $C$; None (default): $1 / (1 - F)$ for each unit, which one step keeps.
    """

    def __init__(self, kernel, recurrent, bias, input_bound, carry=None):
        units = recurrent.shape[0]
        self.recurrent = np.abs(recurrent)
        self.inputs = rounded_up(np.abs(kernel).sum(0), len(kernel)).reshape(4, units)
        sums = rounded_up(self.recurrent.sum(0), units).reshape(4, units)
        reach = sums[1] + times_bound(self.inputs[1], input_bound)
        self.forget = sigmoid_above(reach, 0.0 if bias is None else bias.reshape(4, units)[1])
        if carry is None:
            with np.errstate(divide="ignore"):
                carry = (1.0 + 4.0 * EPSILON) / (1.0 - self.forget)
        self.carry = np.broadcast_to(carry, units)
        self.units = units
        self.start = np.concatenate([np.ones(units), self.carry])

    def step(self, v, e=0.0):
        """$T(v, e)$ for `v` `[2 H]`, h before c."""
        units = self.units
        if not (np.isfinite(self.carry).all() and np.isfinite(v).all()):
            return np.full(2 * units, np.inf)
        moved = (v[:units] @ self.recurrent).reshape(4, units) + self.inputs * e
        kept, gain = v[units:], self.carry * moved[1]
        # The supremum over f <= F of the concave f (kept + gain (1 - f)).
        anywhere = np.full(units, np.inf)
        peak = np.divide(kept + gain, 2.0 * gain, out=anywhere, where=gain > 0)
        f = np.minimum(self.forget, peak)
        c = f * (kept + gain * (1.0 - f)) + np.maximum(moved[0] / 4.0, moved[2])
        return rounded_up(np.concatenate([np.maximum(c, moved[3] / 4.0), c]), units) + TINY


class GRUGain:
    r"""$T$ for the GRU, on $|h| \le 1$, with $h_t = z \odot h_{t-1} + (1 - z) \odot g$.

    $$T = \sup_{z_- \le z \le z_+} z\, v + 2 z (1 - z)\, a_z + (1 - z)\, d$$

    because $|h - g| \le 2$. With `reset_after` the candidate is
    $g = \tanh(W_h x + r \odot (U_h h + b'))$, and $d = a_h + q\, a_r / 4$ with
    $q = |U_h|^\top \mathbf 1 + |b'|$; without, $U_h$ acts on $r \odot h$, and
    $d = |U_h|^\top (v + a_r / 4) + |W_h|^\top \mathbf 1\, e$. Here $a_q = |U_q|^\top v +
    |W_q|^\top \mathbf 1\, e$, and $z_\pm = \sigma(\pm(|U_z|^\top \mathbf 1 + |W_z|^\top \mathbf 1
    B_x) + b_z)$.

    Args:
        kernel, recurrent, bias: as in `keras.layers.GRU`, in float64; `bias` may be None.
        input_bound: the largest size of an input feature; infinity where it is not known.
        reset_after: as in `keras.layers.GRU`.
    """

    def __init__(self, kernel, recurrent, bias, input_bound, reset_after):
        units = recurrent.shape[0]
        self.units, self.reset_after = units, reset_after
        self.recurrent = np.abs(recurrent)
        self.inputs = rounded_up(np.abs(kernel).sum(0), len(kernel)).reshape(3, units)
        sums = rounded_up(self.recurrent.sum(0), units).reshape(3, units)
        bias = np.zeros([1, 3 * units]) if bias is None else np.atleast_2d(bias)
        reach = sums[0] + times_bound(self.inputs[0], input_bound)
        middle = bias.sum(0)[:units]
        self.high = sigmoid_above(reach, middle)
        self.low = 1.0 - sigmoid_above(reach, -middle)
        self.candidate = sums[2] + (np.abs(bias[-1, 2 * units :]) if reset_after else 0.0)
        self.start = np.ones(units)

    def step(self, v, e=0.0):
        """$T(v, e)$ for `v` `[H]`."""
        units = self.units
        if not np.isfinite(v).all():
            return np.full(units, np.inf)
        moved = (v @ self.recurrent).reshape(3, units) + self.inputs * e
        if self.reset_after:
            d = moved[2] + self.candidate * moved[1] / 4.0
        else:
            d = (v + moved[1] / 4.0) @ self.recurrent[:, 2 * units :] + self.inputs[2] * e
        twice = 2.0 * moved[0]
        # A concave parabola in z; its top lies at 1/2 + (v - d) / (2 twice).
        level = np.where(v > d, np.inf, -np.inf)  # then an end of the interval is the best
        top = np.divide(v - d, 2.0 * twice, out=level, where=twice > 0)
        z = np.clip(0.5 + top, self.low, self.high)
        value = z * v + z * (1.0 - z) * twice + (1.0 - z) * d
        return rounded_up(value, units) + TINY
