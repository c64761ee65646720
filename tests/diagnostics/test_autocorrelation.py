"""Autocorrelations by hand, and a fit that finds the exponentials that it was given."""

import numpy as np
import pytest

from rnnzoo import diagnostics
from rnnzoo.diagnostics._autocorrelation import _fit


@pytest.mark.parametrize(
    ("amplitudes", "rates"), [((0.044, 0.332), (0.997, 0.0)), ((0.5, 2.0), (0.9, 0.4))]
)
def test_the_fit_of_a_sum_of_two_exponentials(amplitudes, rates):
    lag = np.arange(65)
    values = sum(a * rho**lag for a, rho in zip(amplitudes, rates))
    found = _fit(lag, values)
    np.testing.assert_allclose(found[0], amplitudes, rtol=1e-4)
    np.testing.assert_allclose(found[1], rates, rtol=1e-4, atol=1e-4)


def test_values_by_hand_and_the_rate_of_autoregressive_inputs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=[200, 400, 2])
    for t in range(1, 400):
        x[:, t] = 0.8 * x[:, t - 1] + 0.6 * x[:, t]
    x += [3.0, -1.0]
    found = diagnostics.autocorrelation(x, max_lag=30, center=True)
    centred = x - x.mean((0, 1))
    pairs = [
        centred[n, t, f] * centred[n, t + 7, f]
        for n in range(200)
        for t in range(393)
        for f in range(2)
    ]
    assert found.values[7] == pytest.approx(np.mean(pairs), rel=1e-10)
    # 80,000 steps that are independent about every tenth: an error of 1/sqrt(16,000) or so.
    assert found.rates[0] == pytest.approx(0.8, abs=0.02)
    assert np.abs(found.fitted - found.values).max() < 0.02
    raw = diagnostics.autocorrelation(x, max_lag=30)
    np.testing.assert_allclose(raw.values - found.values, 5.0, atol=0.1)  # the mean of 9 and 1
    assert raw.rates[0] == pytest.approx(1.0, abs=1e-3)
    assert len(raw.plot().axes[0].lines) == 2
    assert len(diagnostics.autocorrelation(x[..., 0]).lag) == 201


def test_bad_input():
    x = np.zeros([2, 10])
    for inputs, lag, words in [
        (x[0], None, r"`inputs` must be \[B, T\] .* Received: shape \(10,\)"),
        (x + np.nan, None, "`inputs` must be finite"),
        (x, 10, r"`max_lag` must be in \[4, 10\).* Received: max_lag=10"),
        (x[:, :6], None, r"`max_lag` must be in \[4, 6\).* Received: max_lag=3"),
    ]:
        with pytest.raises(ValueError, match=words):
            diagnostics.autocorrelation(inputs, lag)
    with pytest.raises(TypeError, match="`inputs` must hold real numbers"):
        diagnostics.autocorrelation(x.astype(str))
