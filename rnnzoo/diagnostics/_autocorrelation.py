"""How long inputs resemble themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rnnzoo import _checks
from rnnzoo._figures import new_figure


class Autocorrelation(NamedTuple):
    """R at each lag, and the two exponentials that fit it: amplitudes and rates, slower first."""

    lag: np.ndarray
    values: np.ndarray
    amplitudes: np.ndarray
    rates: np.ndarray

    @property
    def fitted(self):
        """The sum of the two exponentials at each lag."""
        return _exponentials(self.rates, self.lag) @ self.amplitudes

    def plot(self, axes=None, **options):
        """Both against the lag, on `axes` or in a new figure; returns the figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        axes.plot(self.lag, self.values, ".", label="measured", **options)
        terms = [f"{a:.3g} · {rho:.4g}^Δ" for a, rho in zip(self.amplitudes, self.rates)]
        axes.plot(self.lag, self.fitted, label=" + ".join(terms))
        axes.set(xlabel="lag Δ", ylabel="autocorrelation")
        axes.legend()
        return axes.figure


def autocorrelation(
    inputs: ArrayLike, max_lag: int | None = None, center: bool = False
) -> Autocorrelation:
    r"""The autocorrelation of sequences, and the sum of two exponentials nearest to it.

    $$R(\Delta) = \operatorname{mean}_{n,t,f}\ x_{ntf}\,x_{n,t+\Delta,f} \approx
      a_1\rho_1^\Delta + a_2\rho_2^\Delta,\qquad a_i\ge0,\ 0\le\rho_2\le\rho_1\le1$$

    by least squares over the lags. A white part is a rate of 0, a mean that is not 0 a rate of 1.
    Inputs that swing have negative autocorrelations, which no such sum fits: compare `fitted`.
    The published fit for BERT embeddings is $0.044\cdot0.997^\Delta$ and a white part of 0.332.

    Args:
        inputs: Numbers `[B, T]` or `[B, T, F]`, finite.
        max_lag: The largest lag, an integer in [4, T); None (default): half of T, at most 256.
        center: Whether each feature's mean over rows and steps is subtracted (default False).

    Returns:
        An `Autocorrelation`, float64: `lag` and `values` `[max_lag + 1]`, `amplitudes` and `rates`
        `[2]`, the property `fitted`; `plot()`.

    Raises:
        ValueError, TypeError: For inputs of another shape, without a feature or not finite, and
            lags out of range.

    Source: Zucchet & Orvieto (2024), section 4: the autocorrelation that their theory takes, and
    the code's fit of it.

    Example:

    >>> import numpy as np
    >>> found = autocorrelation(np.tile([[1.0, -1.0], [1.0, 1.0]], 8), max_lag=4)
    >>> found.values.tolist()  # one row swings, the other never changes
    [1.0, 0.0, 1.0, 0.0, 1.0]
    """
    x = np.asarray(inputs)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"`inputs` must hold real numbers. Received: inputs of {x.dtype}")
    if x.ndim not in (2, 3) or not x.size:
        raise ValueError(f"`inputs` must be [B, T] or [B, T, F]. Received: shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("`inputs` must be finite. Received: inputs with NaN or infinity")
    x = x.reshape(*x.shape[:2], -1).astype(np.float64)
    time = x.shape[1]
    max_lag = min(time // 2, 256) if max_lag is None else max_lag
    if not 4 <= _checks.integer("max_lag", max_lag) < time:
        raise ValueError(
            f"`max_lag` must be in [4, {time}), T being {time}. Received: max_lag={max_lag!r}"
        )
    if _checks.boolean("center", center):
        x = x - x.mean((0, 1))
    lag = np.arange(max_lag + 1)
    values = np.array([np.mean(x[:, : time - d] * x[:, d:]) for d in lag])
    return Autocorrelation(lag, values, *_fit(lag, values))


def _exponentials(rates, lag):
    return np.asarray(rates) ** lag[:, None]


def _fit(lag, values):
    """Amplitudes and rates: for given rates the best amplitudes are found at once."""
    from scipy.optimize import least_squares, nnls

    def apart(rates):
        table = _exponentials(rates, lag)
        return table @ nnls(table, values)[0] - values

    starts = [(0.999, 0.01), (0.97, 0.3), (0.8, 0.01), (0.6, 0.5)]
    exact = {"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14}
    fits = [least_squares(apart, start, bounds=(0.0, 1.0), **exact) for start in starts]
    rates = np.sort(min(fits, key=lambda fit: fit.cost).x)[::-1]
    return nnls(_exponentials(rates, lag), values)[0], rates
