"""Initializers: their distributions, what they do to Keras's own layers, files and wrong use."""

import itertools
import json

import keras
import numpy as np
import pytest

from rnnzoo.initializers import Chrono, Ring, TeacherEigenvalues

H = 2000


def kolmogorov(sample):
    """The largest distance of a sample's distribution from the uniform one on [0, 1]."""
    order = np.sort(sample)
    steps = np.arange(len(order) + 1) / len(order)
    return max(np.abs(order - steps[:-1]).max(), np.abs(order - steps[1:]).max())


def test_chrono_time_scales_of_an_lstm_are_uniform():
    bias = Chrono(H, t_max=80, seed=1)([4 * H]).numpy()
    i, f, g, o = np.split(bias, 4)
    np.testing.assert_array_equal(i, -f)
    assert not np.any([g, o])
    # exp(b_f) ~ U[1, 79], as published; beyond 0.04 lies one sample in 300.
    assert kolmogorov((np.exp(f.astype(float)) - 1) / 78) < 0.04


@pytest.mark.parametrize("reset_after", [True, False])
def test_chrono_makes_a_gru_remember_for_that_long(reset_after):
    """Without inputs and other weights h_t = z h_{t-1}: the layer says which way z works."""
    chrono = Chrono(H, t_max=65, t_min=33, seed=2)
    layer = keras.layers.GRU(
        H, reset_after=reset_after, bias_initializer=chrono, recurrent_initializer="zeros"
    )
    z = np.asarray(layer(np.zeros([1, 1, 1]), initial_state=np.ones([1, H], "float32")), float)
    scale = 1 / (1 - z[0])
    assert kolmogorov((scale - 33) / 32) < 0.04
    assert 33 * (1 - 1e-4) < scale.min() < 34 < 64 < scale.max() < 65 * (1 + 1e-4)


def test_chrono_makes_an_lstm_remember_for_that_long():
    layer = keras.layers.LSTM(
        H,
        unit_forget_bias=False,
        bias_initializer=Chrono(H, t_max=40, t_min=20, seed=3),
        recurrent_initializer="zeros",
        return_state=True,
    )
    zero, one = np.zeros([1, H], "float32"), np.ones([1, H], "float32")
    _, _, c = layer(np.zeros([1, 1, 1]), initial_state=[zero, one])  # the candidate is tanh(0)
    scale = 1 / (1 - np.asarray(c[0], float))
    assert kolmogorov((scale - 20) / 20) < 0.04


def test_chrono_of_one_time_scale_and_every_gate_bias_it_does_not_know():
    np.testing.assert_allclose(Chrono(3, 5, t_min=5)([9])[:3], np.log(4) * np.ones(3))
    with pytest.raises(ValueError, match=r"`shape` must be \[12\] .*Received: shape=\(3,\)"):
        keras.layers.LSTM(3, bias_initializer=Chrono(3, 9)).build((None, None, 2))
    for shape in ([3], [6], [2, 12], [3, 9], [16]):
        with pytest.raises(ValueError, match="`shape` must be"):
            Chrono(3, 9)(shape)


@pytest.mark.parametrize("n", [200, 201])
def test_ring_is_a_normal_matrix_with_eigenvalues_over_the_rings_area(n):
    w = Ring(0.6, 0.9, max_phase=1.5, seed=4)((n, n), dtype="float64").numpy()
    np.testing.assert_allclose(w @ w.T, w.T @ w, atol=1e-6)
    values = np.linalg.eigvals(w)
    upper = values[values.imag > 1e-9]
    assert len(upper) == n // 2
    alone = values[np.abs(values.imag) <= 1e-9]
    assert len(alone) == n % 2
    assert np.all((alone.real >= 0.6 - 1e-6) & (alone.real <= 0.9 + 1e-6))
    # 100 draws: beyond 0.17 lies one sample in 160.
    assert kolmogorov((np.abs(upper) ** 2 - 0.36) / (0.81 - 0.36)) < 0.17
    assert kolmogorov(np.angle(upper) / 1.5) < 0.17
    assert np.linalg.norm(w, 2) < 0.9 + 1e-6


def test_the_rings_rotation_is_not_drawn_from_the_seed_of_its_eigenvalues():
    """From the same seed Keras makes a normal number of the very uniform numbers of the ring."""
    w = Ring(0.6, 0.9, seed=4)((6, 6), dtype="float64").numpy()
    q = np.asarray(keras.initializers.Orthogonal(seed=4)((6, 6)), float)
    beside = np.triu(q.T @ w @ q, 2)
    assert np.abs(beside).max() > 0.1


def test_the_teachers_eigenvalues_are_those_of_a_random_matrix_moved():
    n, nu_0, theta_0 = 60, 0.9, 0.5
    w = TeacherEigenvalues(nu_0, seed=5)((n, n), dtype="float64").numpy()
    values = np.linalg.eigvals(w)
    # Undone, the circular law: moduli in the unit disc, |l|^2 about uniform.
    moduli = np.arctanh((np.abs(values) - nu_0) / (1 - nu_0))
    assert kolmogorov(np.minimum(moduli, 1) ** 2) < 0.2
    # theta_0 moves angles of the same matrix, and not its moduli (but of negative eigenvalues).
    squeezed = np.linalg.eigvals(TeacherEigenvalues(nu_0, theta_0, 5)((n, n), dtype="float64"))
    upper, moved = values[values.imag > 1e-9], squeezed[squeezed.imag > 1e-9]
    order = [np.lexsort([np.angle(v)]) for v in (upper, moved)]
    wanted = np.abs(upper) * np.exp(1j * np.angle(upper) * theta_0 / np.pi)
    np.testing.assert_allclose(moved[order[1]], wanted[order[0]], atol=1e-6)
    # At nu_0 = 0 and the full range only the moduli shrink: the angles are the matrix's own.
    plain = np.linalg.eigvals(TeacherEigenvalues(0.0, seed=5)((n, n), dtype="float64"))
    assert np.abs(plain).max() < np.tanh(1.3)


def test_each_gate_of_a_kernel_gets_a_matrix_of_its_own():
    for initializer in (Ring(seed=3), TeacherEigenvalues(seed=3)):
        gates = np.split(initializer((6, 24)).numpy(), 4, axis=1)
        np.testing.assert_allclose(gates[0], initializer((6, 6)), atol=1e-7)
        assert all(np.abs(a - b).max() > 0.1 for a, b in itertools.pairwise(gates))
        with pytest.raises(ValueError, match=r"`shape` must be \[n, n\].*shape=\(6, 9\)"):
            initializer((6, 9))
        with pytest.raises(ValueError, match=r"`shape` must be \[n, n\]"):
            initializer((6,))


ALL = [Chrono(4, 30, t_min=3, seed=1), Ring(0.5, 0.9, 1.0, seed=1), TeacherEigenvalues(0.5, 1.0, 1)]


@pytest.mark.parametrize("initializer", ALL, ids=lambda i: type(i).__name__)
def test_a_seed_decides_and_a_file_keeps_it(initializer, tmp_path):
    shape = [16] if isinstance(initializer, Chrono) else (4, 16)
    again = keras.initializers.get(
        json.loads(json.dumps(keras.initializers.serialize(initializer)))
    )
    assert type(again) is type(initializer)
    np.testing.assert_array_equal(again(shape), initializer(shape))
    fresh = type(initializer)(**{**initializer.get_config(), "seed": None})
    assert np.abs(np.subtract(fresh(shape), fresh(shape))).max() > 1e-3
    keras.utils.set_random_seed(7)
    first = fresh(shape)
    keras.utils.set_random_seed(7)
    np.testing.assert_array_equal(fresh(shape), first)
    assert initializer(shape, dtype="float64").dtype == "float64"
    options = {"bias_initializer" if len(shape) == 1 else "recurrent_initializer": initializer}
    layer = keras.layers.LSTM(4, unit_forget_bias=False, **options)
    model = keras.Sequential([keras.Input((None, 2)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[0]
    assert loaded.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Chrono(0, 9), ValueError, r"`units` .*units=0"),
        (lambda: Chrono(4.0, 9), TypeError, r"`units` .*units=4.0"),
        (lambda: Chrono(4, 1), ValueError, r"`t_max` must be a number in \[2, inf\].*t_max=1"),
        (lambda: Chrono(4, 9, t_min=1), ValueError, r"`t_min` must be a number in \(1, inf\]"),
        (lambda: Chrono(4, "9"), TypeError, r"`t_max` .*'9'"),
        (lambda: Chrono(4, 9, seed=-1), ValueError, r"`seed` .*seed=-1"),
        (lambda: Ring(0.9, 0.5), ValueError, r"`r_min` must be .*\[0, 0.5\].*r_min=0.9"),
        (lambda: Ring(r_max=1.1), ValueError, r"`r_max` .*r_max=1.1"),
        (lambda: Ring(max_phase=4), ValueError, r"`max_phase` .*max_phase=4"),
        (lambda: TeacherEigenvalues(1.0), ValueError, r"`nu_0` .*nu_0=1.0"),
        (lambda: TeacherEigenvalues(theta_0=-1), ValueError, r"`theta_0` .*theta_0=-1"),
    ],
)
def test_wrong_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()
