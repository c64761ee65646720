"""The copying task, step by step."""

import math

import numpy as np
import pytest

from rnnzoo import tasks


def small(**options):
    return tasks.get(
        "copy", **{"train_size": 400, "validation_size": 50, "test_size": 50, **options}
    )


@pytest.mark.parametrize("delay", [1, 2, 100])
def test_layout(delay):
    x, y = small(delay=delay).arrays("train")
    assert x.shape == (400, delay + 20, 1)
    assert y.shape == (400, delay + 20)
    symbols = x[:, :10, 0]
    assert set(np.unique(symbols)) == {1, 2, 3, 4, 5, 6, 7, 8}
    rest = [0] * (delay - 1) + [9] + [0] * 10
    np.testing.assert_array_equal(x[:, 10:, 0], np.tile(rest, (400, 1)))
    np.testing.assert_array_equal(y[:, : delay + 10], 0)
    np.testing.assert_array_equal(y[:, delay + 10 :], symbols)


def test_symbols_are_uniform_and_independent():
    _, y = small(delay=1, train_size=20_000).arrays("train")
    symbols = y[:, -10:]
    share = np.stack([(symbols == s).mean(axis=0) for s in range(1, 9)])
    # Five standard deviations of a share of 1/8 in 20,000 draws.
    np.testing.assert_allclose(share, 1 / 8, atol=5 * math.sqrt(7 / 64 / 20_000))
    correlation = np.corrcoef(symbols.T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / math.sqrt(20_000)


def test_one_hot_is_the_same_sequence():
    scalar, hot = small(delay=7), small(delay=7, one_hot=True)
    assert hot.input_shape == (27, 10)
    (xs, ys), (xh, yh) = scalar.arrays("train"), hot.arrays("train")
    np.testing.assert_array_equal(xh, np.eye(10, dtype=np.float32)[xs[..., 0].astype(int)])
    np.testing.assert_array_equal(ys, yh)


def test_fewer_symbols_are_recalled():
    task = small(delay=5, recalled=2)
    x, y = task.arrays("train")
    assert x.shape == (400, 9, 1)
    rest = [0] * 4 + [9, 0, 0]
    np.testing.assert_array_equal(x[:, 2:, 0], np.tile(rest, (400, 1)))
    np.testing.assert_array_equal(y[:, -2:], x[:, :2, 0])
    assert not y[:, :-2].any()
    assert task.baseline["loss"] == pytest.approx(2 * math.log(8) / 9)
    assert task.baseline["accuracy"] == pytest.approx((7 + 2 / 8) / 9)
    assert tasks.get(**task.get_config()).length == 9


def test_published_defaults():
    task = tasks.get("copy")
    assert (task.input_shape, task.output_shape) == ((120, 1), (120, 9))
    assert [task.size(s) for s in ("train", "validation", "test")] == [100_000, 5_000, 5_000]
    assert int(task.train.cardinality()) == 1000
    assert task.monitor == "val_recall_accuracy"


def test_baseline_is_what_the_forgetful_strategy_scores():
    task = small(delay=30, test_size=2_000)
    _, y = task.arrays("test")
    logits = np.full((2_000, 50, 9), -60.0, np.float32)
    logits[:, :40, 0] = 0.0
    logits[:, 40:, 1:] = 0.0  # the eight symbols alike; argmax then says symbol 1
    assert float(task.loss(y, logits)) == pytest.approx(task.baseline["loss"], rel=1e-5)
    scores = {}
    for metric in task.metrics:
        metric.update_state(y, logits)
        scores[metric.name] = float(metric.result())
    error = 5 * math.sqrt(7 / 64 / 20_000)
    assert scores["recall_accuracy"] == pytest.approx(task.baseline["recall_accuracy"], abs=error)
    assert scores["accuracy"] == pytest.approx(task.baseline["accuracy"], abs=error / 5)
    assert task.baseline["loss"] == pytest.approx(10 * math.log(8) / 50)
    assert task.baseline["accuracy"] == pytest.approx(41.25 / 50)
