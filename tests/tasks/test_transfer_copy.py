"""Transfer copying: the same symbols at every delay, and scores by delay."""

import keras
import numpy as np
import pytest

from rnnzoo import tasks
from rnnzoo.tasks.transfer_copy import PUBLISHED

SIZES = {"train_size": 30, "validation_size": 10, "test_size": 12, "batch_size": 10}


def test_another_delay_has_the_same_symbols():
    task = tasks.get("transfer_copy", delay=4, seed=2, one_hot=True, **SIZES)
    x, y = task.arrays("test")
    for delay in (1, 9):
        other = task.at(delay)
        assert (other.delay, other.one_hot, other.seed) == (delay, True, 2)
        ox, oy = other.arrays("test")
        assert oy.shape == (12, delay + 20)
        np.testing.assert_array_equal(ox[:, :10], x[:, :10])
        np.testing.assert_array_equal(oy[:, -10:], y[:, -10:])
    copy = tasks.get("copy", delay=4, seed=2, one_hot=True, **SIZES)
    np.testing.assert_array_equal(copy.arrays("train")[0], task.arrays("train")[0])


def test_scores_are_those_of_each_delay():
    task = tasks.get("transfer_copy", delay=3, delays=[5, 8], **SIZES)
    assert task.delays == (5, 8)
    inputs = keras.Input((None, 1))
    model = keras.Model(inputs, keras.layers.Dense(9, kernel_initializer="ones")(inputs))
    model.compile(loss=task.loss, metrics=task.metrics)
    scores = task.scores(model)
    assert list(scores) == [5, 8]
    for delay, found in scores.items():
        x, y = task.at(delay).arrays("test")
        assert found["loss"] == pytest.approx(float(task.loss(y, model(x))), rel=1e-5)
        assert found["accuracy"] == pytest.approx(np.mean(y == 0), rel=1e-5)  # all logits alike


def test_published_table_covers_the_default_delays():
    for row in PUBLISHED.values():
        assert tuple(row) == tasks.get("transfer_copy").delays
        assert all(1 / 8 < a < 1 for a in row.values())
        assert list(row.values()) == sorted(row.values(), reverse=True)
