"""The linear teacher: outputs against the recurrence, fresh batches, power in closed form."""

import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import tasks
from rnnzoo.tasks import _teacher

SMALL = {"length": 40, "train_size": 20, "validation_size": 8, "test_size": 6, "batch_size": 8}


def recurrence(teacher, x):
    """The outputs `[B, T]`, step by step in float64."""
    state, outputs = np.zeros([len(x), len(teacher.b)]), []
    for t in range(x.shape[1]):
        state = state @ teacher.a.T + x[:, t, None] * teacher.b
        outputs.append(state @ teacher.c + teacher.d * x[:, t])
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("nu_0", [0.0, 0.36, 0.99])
@pytest.mark.parametrize("theta_0", [np.pi, 0.314])
def test_convolution_is_the_recurrence(nu_0, theta_0):
    teacher = _teacher.draw(nu_0, theta_0, 10, seed=42)
    x = np.random.default_rng(0).normal(size=(3, 500))
    found = _teacher.convolve(tf.constant(x), teacher.response(500)).numpy()
    expected = recurrence(teacher, x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_task_hands_out_the_teachers_outputs(rho):
    task = tasks.get("teacher_student", rho=rho, **SMALL)
    for split in ("train", "validation", "test"):
        x, y = task.arrays(split)
        assert (x.shape, y.shape, x.dtype, y.dtype) == (
            (task.size(split), 40, 1),
            (task.size(split), 40, 1),
            np.float32,
            np.float32,
        )
        expected = recurrence(task.teacher, x[..., 0].astype(np.float64))
        np.testing.assert_allclose(y[..., 0], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_eigenvalues_are_where_the_options_put_them():
    values = _teacher.draw(0.96, np.pi, 10, seed=42).eigenvalues
    assert np.abs(values).min() >= 0.96
    assert np.abs(values).max() < 1
    other = _teacher.draw(0.0, np.pi, 10, seed=42).eigenvalues
    order = np.argsort(np.angle(values)), np.argsort(np.angle(other))
    np.testing.assert_allclose(
        np.abs(values)[order[0]], 0.96 + 0.04 * np.abs(other)[order[1]], rtol=1e-9
    )
    narrow = _teacher.draw(0.96, np.pi / 10, 10, seed=42).eigenvalues
    assert np.abs(np.angle(narrow)).max() <= np.pi / 10 + 1e-9
    np.testing.assert_allclose(np.sort(np.angle(narrow)), np.sort(np.angle(values)) / 10, atol=1e-9)


def test_teacher_is_fixed_and_data_are_a_function_of_the_seed():
    a, b = (tasks.get("teacher_student", seed=s, **SMALL) for s in (0, 1))
    np.testing.assert_array_equal(a.teacher.a, b.teacher.a)
    again = tasks.get(**a.get_config())
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(a.arrays(split)[1], again.arrays(split)[1])
        assert (a.arrays(split)[0] != b.arrays(split)[0]).all()
    other = tasks.get("teacher_student", teacher_seed=43, **SMALL)
    assert np.abs(other.teacher.a - a.teacher.a).max() > 0.01


def test_every_batch_is_new_and_an_epoch_can_be_had_again():
    task = tasks.get("teacher_student", **SMALL)
    passes = [np.concatenate([x.numpy() for x, _ in task.train]) for _ in range(3)]
    assert task.epoch == 3
    assert [len(p) for p in passes] == [20, 20, 20]
    rows = {row.tobytes() for p in passes for row in p}
    assert len(rows) == 60
    assert not rows & {row.tobytes() for row in task.arrays("test")[0]}
    fresh = tasks.get(**task.get_config())
    fresh.epoch = 2
    np.testing.assert_array_equal(fresh.arrays("train")[0], passes[2])
    np.testing.assert_array_equal(np.concatenate([x for x, _ in fresh.train]), passes[2])


def test_input_has_the_autocorrelation():
    for rho in (0.0, 0.6, 0.99):
        x = tasks.get("teacher_student", rho=rho, **{**SMALL, "test_size": 20_000}).arrays("test")
        x = x[0][..., 0].astype(np.float64)
        for t, lag in ((0, 0), (39, 0), (5, 1), (12, 4)):
            products = x[:, t] * x[:, t + lag]
            error = 5 * products.std() / np.sqrt(len(products))
            assert abs(products.mean() - rho**lag) < error
    x = tasks.get("teacher_student", rho=1, **SMALL).arrays("test")[0]
    np.testing.assert_allclose(x, np.broadcast_to(x[:, :1], x.shape), rtol=1e-6)


@pytest.mark.parametrize("rho", [0.0, 0.7, 1.0])
def test_baseline_is_the_mean_power_of_the_outputs(rho):
    task = tasks.get("teacher_student", nu_0=0.9, rho=rho, **SMALL)
    k = task.teacher.response(40)
    lags = np.abs(np.subtract.outer(np.arange(40), np.arange(40)))
    by_sums = [k[: t + 1] @ (rho ** lags[: t + 1, : t + 1]) @ k[: t + 1] for t in range(40)]
    assert task.baseline["loss"] == pytest.approx(np.mean(by_sums) / 2, rel=1e-12)
    many = tasks.get("teacher_student", nu_0=0.9, rho=rho, **{**SMALL, "test_size": 4_000})
    _, y = many.arrays("test")
    power = (y.astype(np.float64) ** 2).mean(axis=(1, 2))
    error = 5 * power.std() / np.sqrt(len(power))
    assert abs(power.mean() - many.baseline["mean_squared_error"]) < error
    assert float(many.loss(y, np.zeros_like(y))) == pytest.approx(power.mean() / 2, rel=1e-5)
    assert float(many.loss(y, y)) == many.optimum["loss"]
