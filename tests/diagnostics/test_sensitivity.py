"""Derivatives of states by recurrent weights: by hand, by differences, and in theory."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import diagnostics, layers

TIME = 6


def autoregressive(rng, rho, shape):
    """Gaussian inputs with E[x_t x_{t+d}] = rho^d, along the second axis."""
    noise = rng.normal(size=shape)
    x = noise.copy()
    for t in range(1, shape[1]):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return x


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_one_linear_unit_agrees_with_theory_within_the_error_of_the_sample(rho):
    rnn = keras.layers.SimpleRNN(1, "linear", use_bias=False, dtype="float64")
    model = keras.Sequential([keras.Input((None, 1), dtype="float64"), rnn])
    model.set_weights([np.array([[1.0]]), np.array([[0.8]])])
    x = autoregressive(np.random.default_rng(0), rho, [4000, 120, 1])
    # The recursion by hand gives what each row contributes, so also the error of their mean.
    h, slope = np.zeros(len(x)), np.zeros(len(x))
    for t in range(x.shape[1]):
        h, slope = 0.8 * h + x[:, t, 0], h + 0.8 * slope
    found = diagnostics.sensitivity(model, x, batch_size=2000)
    assert found.last["recurrent_kernel"].shape == (1, 1)
    assert found.last["recurrent_kernel"][0, 0] == pytest.approx(np.mean(slope**2), rel=1e-12)
    for values, theory in [
        (slope**2, diagnostics.sensitivity_second_moment(0.8, rho)),
        (h**2, diagnostics.state_second_moment(0.8, rho)),
    ]:
        error = np.std(values) / np.sqrt(len(values))
        assert error < 0.04 * theory
        assert abs(values.mean() - theory) < 3 * error


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.GRU(3, dtype="float64", name="rnn"),
        lambda: layers.HDetachLSTM(3, p=1.0, dtype="float64", name="rnn"),
    ],
)
def test_against_differences(make):
    """Central differences of the whole layer for each weight, with masked steps in it."""
    rnn = make()
    x = np.random.default_rng(1).normal(size=[2, TIME, 2])
    x[0, 4:] = x[1, 2] = 0.0
    model = keras.Sequential([keras.Input((None, 2), dtype="float64"), keras.layers.Masking(), rnn])
    rnn.set_weights([w.astype("float64") for w in rnn.get_weights()])
    found = diagnostics.sensitivity(model, (x, x))
    twin = type(rnn).from_config({**rnn.get_config(), "return_state": True})
    twin(x)
    kernel, recurrent, bias = rnn.get_weights()
    mask = tf.constant((x != 0).any(-1))
    expected = np.zeros_like(recurrent)
    for place in np.ndindex(recurrent.shape):
        ends = []
        for sign in (1, -1):
            moved = recurrent.copy()
            moved[place] += sign * 1e-5
            twin.set_weights([kernel, moved, bias])
            ends.append(np.concatenate(twin(x, mask=mask)[1:], axis=-1))
        slope = (ends[0] - ends[1]) / 2e-5
        expected[place] = np.mean(np.sum(slope**2, 1))
    np.testing.assert_allclose(found.last["recurrent_kernel"], expected, rtol=1e-6, atol=1e-12)
    # The fifth step is real in the second row alone, and so is that row's last.
    by_time = found.by_time["recurrent_kernel"]
    assert by_time[0] == 0.0
    assert by_time[1:].min() > 0.0
    assert len(found.plot().axes[0].lines[0].get_xdata()) == TIME - 1


def test_an_lru_is_many_single_units():
    """By lambda itself the derivatives of a complex unit are those of its recursion."""
    rnn = layers.ComplexRNN(2, state_size=3, r_min=0.5, r_max=0.9, seed=3, name="rnn")
    model = keras.Sequential([keras.Input((None, 2)), rnn])
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=[2, 4, TIME, 2]).astype("float32")
    found = diagnostics.sensitivity(model, [x, z])
    b = rnn.cell.B_re.numpy() + 1j * rnn.cell.B_im.numpy()
    eigenvalues, squares = rnn.eigenvalues(), []
    for row in [*x, *z]:
        h = slope = np.zeros(3, complex)
        for value in row:
            h, slope = eigenvalues * h + b @ value, h + eigenvalues * slope
        squares.append(np.abs(slope) ** 2)
    # d h / d Im(lambda) = i dh / d lambda, of the same size.
    expected = np.tile(np.mean(squares, 0), (2, 1))
    np.testing.assert_allclose(found.last["lambda_re_im"], expected, rtol=1e-4)
    np.testing.assert_allclose(found.by_time["lambda_re_im"][-1], expected.mean(), rtol=1e-4)


def test_closed_forms_of_complex_units_against_summed_series():
    """The two moments as double sums over past inputs, and the loss's curvature by differences."""
    value, rho, steps = 0.7 * np.exp(0.9j), 0.6, np.arange(150)
    correlation = rho ** np.abs(steps[:, None] - steps)
    by_state = value**steps
    by_value = steps * value ** (steps - 1.0)
    moments = [(c.conj() @ correlation @ c).real for c in (by_state, by_value)]
    assert diagnostics.state_second_moment(value, rho) == pytest.approx(moments[0], rel=1e-12)
    assert diagnostics.sensitivity_second_moment(value, rho) == pytest.approx(moments[1], rel=1e-12)
    real = np.array([0.3, 0.9, 0.99])
    top = (1 + real**2) * (1 - real**2 * rho**2) + 2 * (1 - real**2) * real * rho
    expected = top / ((1 - real**2) ** 3 * (1 - real * rho) ** 2)
    np.testing.assert_allclose(diagnostics.sensitivity_second_moment(real, rho), expected)
    one = (1 + real) / ((1 - real) * (1 - real**2))  # rho = 1: x never changes
    np.testing.assert_allclose(diagnostics.state_second_moment(real, 1), one, rtol=1e-10)


@pytest.mark.parametrize("normalized", [False, True])
def test_curvature_of_the_teacher_student_loss(normalized):
    teacher, step = 0.6 * np.exp(0.5j), 1e-4

    def loss(modulus, angle):
        student = (0.6 + modulus) * np.exp(1j * (0.5 + angle))
        return diagnostics.teacher_student_loss(student, teacher, normalized)

    around = [(loss(step, 0), loss(-step, 0)), (loss(0, step), loss(0, -step))]
    found = [(up + down - 2 * loss(0, 0)) / step**2 for up, down in around]
    expected = diagnostics.teacher_student_hessian(0.6, normalized)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # And the loss itself, by impulse responses: white inputs have no correlation.
    powers, student = np.arange(200), 0.8 * np.exp(-0.2j)
    gains = np.sqrt(1 - np.abs([student, teacher]) ** 2) if normalized else [1.0, 1.0]
    apart = gains[0] * student**powers - gains[1] * teacher**powers
    assert diagnostics.teacher_student_loss(student, teacher, normalized) == pytest.approx(
        0.5 * np.sum(np.abs(apart) ** 2), rel=1e-10
    )


def test_bad_input():
    rnn = keras.layers.SimpleRNN(2, name="rnn")
    model = keras.Sequential([keras.Input((None, 2)), rnn])
    x = np.zeros([1, 3, 2], "float32")
    with pytest.raises(ValueError, match=r"`weights` must .*'kernel'.* Received: weights=\['A'\]"):
        diagnostics.sensitivity(model, x, weights=["A"])
    with pytest.raises(ValueError, match=r"`layer` must be one of .*'rnn'.* layer='lstm'"):
        diagnostics.sensitivity(model, x, layer="lstm")
    two = keras.Sequential([model, keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must have a recurrent layer"):
        diagnostics.sensitivity(two, x)
    with pytest.raises(ValueError, match=r"modulus below 1. Received: eigenvalue=1.0"):
        diagnostics.state_second_moment(1.0)
    with pytest.raises(ValueError, match=r"`rho` .* Received: rho=1.5"):
        diagnostics.sensitivity_second_moment(0.5, 1.5)
    with pytest.raises(ValueError, match=r"`modulus` must be in \[0, 1\). Received: modulus=-0.5"):
        diagnostics.teacher_student_hessian(-0.5)
    with pytest.raises(TypeError, match="`student` must hold numbers"):
        diagnostics.teacher_student_loss("a", 0.5)
