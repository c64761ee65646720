"""The adding problem: two marks, their sum, and what not looking scores."""

import numpy as np
import pytest

from rnnzoo import tasks


def small(**options):
    sizes = {"train_size": 3_000, "validation_size": 20, "test_size": 20}
    return tasks.get("adding", **{**sizes, **options})


@pytest.mark.parametrize("markers", ["anywhere", "halves"])
@pytest.mark.parametrize("length", [2, 3, 50])
def test_the_target_is_the_sum_of_the_two_marked_numbers(markers, length):
    task = small(length=length, markers=markers)
    x, y = task.arrays("train")
    assert x.shape == (3_000, length, 2)
    assert y.shape == (3_000, 1)
    values, marks = x[..., 0], x[..., 1]
    assert set(np.unique(marks)) <= {0.0, 1.0}
    np.testing.assert_array_equal(marks.sum(axis=1), 2)
    np.testing.assert_allclose(y[:, 0], (values * marks).sum(axis=1), rtol=2e-7)
    assert values.min() >= 0
    assert values.max() < 1


def test_anywhere_makes_every_pair_as_likely():
    marks = small(length=4, train_size=60_000).arrays("train")[0][..., 1]
    pairs, counts = np.unique(marks, axis=0, return_counts=True)
    assert len(pairs) == 6
    # Five standard deviations of a share of 1/6 in 60,000 draws.
    np.testing.assert_allclose(counts / 60_000, 1 / 6, atol=5 * np.sqrt(5 / 36 / 60_000))


def test_halves_marks_one_step_in_each_half():
    marks = small(length=7, markers="halves").arrays("train")[0][..., 1]
    np.testing.assert_array_equal(marks[:, :3].sum(axis=1), 1)
    np.testing.assert_array_equal(marks[:, 3:].sum(axis=1), 1)
    assert (marks.sum(axis=0) > 0).all()


def test_baseline_is_what_always_answering_one_scores():
    task = small(length=5, train_size=100_000)
    _, y = task.arrays("train")
    error = y - 1.0
    # Standard errors of the two means over 100,000 draws are below 0.0007.
    assert np.mean(error**2) == pytest.approx(task.baseline["loss"], abs=0.0035)
    assert np.mean(np.abs(error)) == pytest.approx(task.baseline["mean_absolute_error"], abs=0.0035)
    assert task.baseline["loss"] == pytest.approx(1 / 6)
    assert float(task.loss(y, np.ones_like(y))) == pytest.approx(np.mean(error**2), rel=1e-4)
    assert y.mean() == pytest.approx(1.0, abs=0.0065)


def test_published_defaults():
    task = tasks.get("adding")
    assert (task.input_shape, task.output_shape) == ((600, 2), (1,))
    assert [task.size(s) for s in ("train", "validation", "test")] == [50_000, 1_000, 1_000]
    assert (task.monitor, task.monitor_mode) == ("val_loss", "min")
