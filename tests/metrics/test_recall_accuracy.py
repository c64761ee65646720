"""The accuracy on the symbols to recall: their steps alone, weighted, masked, in strides."""

import keras
import numpy as np
import pytest

from rnnzoo import tasks
from rnnzoo.metrics import RecallAccuracy


def test_recall_accuracy_is_the_accuracy_of_the_last_ten_steps():
    task = tasks.get("copy", delay=6, train_size=400, validation_size=50, test_size=50)
    _, y = task.arrays("train")
    logits = np.random.default_rng(0).normal(size=(400, 26, 9)).astype(np.float32)
    metric = RecallAccuracy()
    metric.update_state(y, logits)
    expected = (logits[:, -10:].argmax(-1) == y[:, -10:]).mean()
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
    in_strides = RecallAccuracy()
    for start in range(0, 26, 8):
        in_strides.update_state(y[:, start : start + 8], logits[:, start : start + 8])
    assert float(in_strides.result()) == pytest.approx(expected, rel=1e-6)


def test_recall_accuracy_without_symbols_changes_nothing():
    metric = RecallAccuracy()
    metric.update_state(np.zeros((2, 3)), np.zeros((2, 3, 9)))
    assert float(metric.result()) == 0.0
    metric.update_state([[1]], np.eye(9)[[[1]]])
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("weight", [[1.0, 3.0], [[1.0], [3.0]], [[1.0, 1.0], [3.0, 3.0]]])
def test_recall_accuracy_weights(weight):
    metric = RecallAccuracy()
    metric.update_state(
        [[0, 1], [0, 2]], np.eye(3)[[[1, 1], [0, 1]]], sample_weight=np.array(weight)
    )
    assert float(metric.result()) == pytest.approx(1 / 4)


def test_recall_accuracy_heeds_the_mask_of_the_predictions():
    logits = keras.ops.convert_to_tensor(np.eye(3)[[[1, 2, 1]]])
    keras.src.backend.set_keras_mask(logits, keras.ops.convert_to_tensor([[True, True, False]]))
    metric = RecallAccuracy()
    metric.update_state([[1, 1, 1]], logits)
    assert float(metric.result()) == pytest.approx(1 / 2)


def test_recall_accuracy_serialises():
    metric = RecallAccuracy(blank=3, name="recall")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is RecallAccuracy
    assert (again.blank, again.name) == (3, "recall")
    with pytest.raises(ValueError, match="`blank` must be an integer of at least 0"):
        RecallAccuracy(blank=-1)
