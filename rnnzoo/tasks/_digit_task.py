"""What every task has that tells a digit from its pixels."""

import math

import keras

from rnnzoo.tasks._task import Task

CLASSES = 10


class DigitTask(Task):
    """Ten classes after the last step: cross-entropy on logits, accuracy, and guessing as baseline.

    A subclass defines the pixels: `input_shape`, the sizes of its splits, `_load` and `_decode`.
    """

    monitor = "val_accuracy"
    monitor_mode = "max"
    outputs = "logits"
    output_shape = (CLASSES,)

    @property
    def loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @property
    def metrics(self):
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    @property
    def baseline(self):
        return {"accuracy": 1 / CLASSES, "loss": math.log(CLASSES)}
