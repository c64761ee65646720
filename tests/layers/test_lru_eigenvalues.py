"""Where the eigenvalues of an LRU start, that they stay below 1, and what its bound says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers import LRU, _eigenvalues
from tests.references.lru_layers import EVERYTHING, PARAMETRIZATIONS, built, normal, weight


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_the_first_eigenvalues_fill_the_ring_evenly(parametrization):
    layer = built(
        state_size=4000,
        parametrization=parametrization,
        r_min=0.6,
        r_max=0.9,
        max_phase=1.5,
        dtype="float32",
    )
    found = layer.eigenvalues()
    u = (np.abs(found) ** 2 - 0.6**2) / (0.9**2 - 0.6**2)
    for sample in (u, np.angle(found) / 1.5):
        assert sample.min() > -1e-5
        assert sample.max() < 1 + 1e-5
        # Kolmogorov's distance; for 4000 uniform draws it exceeds 0.03 once in 700 times.
        order = np.sort(sample)
        assert np.abs(order - np.arange(4000) / 4000).max() < 0.03
    for name, variance in [("B_re", 1 / 6), ("B_im", 1 / 6), ("C_re", 1 / 4000), ("D", 1 / 3)]:
        values = weight(layer, name)
        error = 5 * variance * np.sqrt(2 / values.size)
        np.testing.assert_allclose(np.mean(values**2), variance, atol=error)


def test_a_seed_decides_every_draw():
    a, b, c = (built(seed=seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(u, v) for u, v in zip(a, b))
    assert not any(np.array_equal(u, v) for u, v in zip(a, c))
    # No two draws of one seed are the same stream.
    assert not np.allclose(built(features=4).cell.B_re, built(features=4).cell.B_im)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_eigenvalues_stay_inside_the_circle_at_build_and_after_any_step(parametrization, dtype):
    layer = built(
        parametrization=parametrization, r_min=0.5, r_max=1.0, state_size=300, dtype=dtype
    )
    low = 1e-9 if parametrization == "tanh" else 0.0
    edge = built(
        parametrization=parametrization, r_min=1 - 1e-12, r_max=1.0, state_size=50, dtype=dtype
    )
    center = built(parametrization=parametrization, r_min=low, r_max=1e-6, dtype=dtype)
    for fresh in (layer, edge, center):
        assert fresh.contraction() < 1
        assert np.abs(fresh.eigenvalues()).max() <= fresh.contraction()
    weights = layer.cell.eigenvalue_weights()
    rng = np.random.default_rng(0)
    optimizer = keras.optimizers.SGD(1.0)
    x = normal(1, 20, 3).astype("float32")
    for size in (1e-3, 1.0, 30.0, 1e4):
        steps = [tf.cast(size * rng.normal(size=w.shape), w.dtype) for w in weights]
        optimizer.apply(steps, weights)
        assert np.abs(layer.eigenvalues()).max() < 1
        assert layer.contraction() < 1
        if dtype in ("float16", "bfloat16"):
            continue  # a right gradient may be beyond their range
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True))
        for gradient in tape.gradient(loss, weights):
            assert np.isfinite(np.asarray(gradient, np.float64)).all()


def test_constraints_are_projections_and_hide_nothing_that_is_not_finite():
    disc = _eigenvalues.Disc(0.5)
    w = np.array([[3.0, 0.1, 0.0, 1e30], [4.0, 0.2, -2.0, 0.0]], "float32")
    inside = np.array([[0.3, 0.1, 0.0, 0.5], [0.4, 0.2, -0.5, 0.0]], "float32")
    np.testing.assert_allclose(disc(w), inside, rtol=1e-6)
    np.testing.assert_array_equal(disc(disc(w)), disc(w))
    interval = _eigenvalues.Interval(-1, 2)
    np.testing.assert_array_equal(interval([-3.0, 0.5, 5.0]), [-1.0, 0.5, 2.0])
    assert not np.isfinite(interval([np.nan, np.inf])).any()
    assert np.isnan(disc(np.array([[np.nan], [0.0]]))[0]).all()


def test_contraction_bounds_trajectories_and_tells_the_truth_about_given_weights():
    for parametrization in PARAMETRIZATIONS:
        layer = built(parametrization=parametrization, dtype="float32", **EVERYTHING)
        bound = layer.contraction()
        assert bound <= np.abs(layer.eigenvalues()).max() * (1 + 2e-6)
        x, states = normal(50, 1, 3).astype("float32"), normal(4, 50, 4).astype("float32")
        a = np.concatenate(layer(x, initial_state=[states[0], states[1]])[1:], 1)
        b = np.concatenate(layer(x, initial_state=[states[2], states[3]])[1:], 1)
        before = np.linalg.norm(
            np.concatenate([states[0] - states[2], states[1] - states[3]], 1), axis=1
        )
        ratio = np.linalg.norm(a - b, axis=1) / before
        assert ratio.max() <= bound * (1 + 1e-6)
    layer = built(dtype="float32")
    layer.cell.nu_log.assign(np.full(4, -100.0))
    assert layer.contraction() >= 1
    assert layer.contraction(input_bound=2.0) == layer.contraction()
    with pytest.raises(ValueError, match="`input_bound` must be a number in"):
        layer.contraction(input_bound=-1.0)
    with pytest.raises(ValueError, match="must be built before"):
        LRU(3, name="fresh").eigenvalues()


def test_tanh_with_fixed_normalization_has_unit_curvature_at_every_eigenvalue():
    """The loss of one normalised eigenvalue against another is 1 - gamma gamma* Re 1/(1 - l l*)."""
    for modulus, phase in [(0.5, 0.3), (0.9, 2.0), (0.99, 1.0)]:
        optimum = tf.constant(np.array(_eigenvalues.Tanh.encode(modulus, phase)))

        def loss(point, optimum=optimum):
            a_re, a_im, a_rest = _eigenvalues.Tanh.decode(tf.math, point[0], point[1])
            b_re, b_im, b_rest = _eigenvalues.Tanh.decode(tf.math, optimum[0], optimum[1])
            re, im = 1 - (a_re * b_re + a_im * b_im), a_im * b_re - a_re * b_im
            return 1 - tf.sqrt(a_rest * b_rest) * re / (re * re + im * im)

        with tf.GradientTape() as outer:
            outer.watch(optimum)
            with tf.GradientTape() as inner:
                inner.watch(optimum)
                value = loss(optimum, tf.stop_gradient(optimum))
            gradient = inner.gradient(value, optimum)
        hessian = outer.jacobian(gradient, optimum)
        np.testing.assert_allclose(gradient, [0, 0], atol=1e-12)
        # omega_nu moves the angle as well, a shear: it leaves the determinant as it is.
        np.testing.assert_allclose(np.linalg.det(hessian), 1.0, rtol=1e-8)
        np.testing.assert_allclose(hessian[1, 1], 1.0, rtol=1e-8)
