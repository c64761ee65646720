"""What every task has that tells a digit from its pixels."""

import math

import keras

from rnnzoo import _checks, models
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

    def build_model(self, layer, *, pooling="last", mlp=None, mlp_dropout=0.0):
        """As `Task.build_model`, with what stands between the layers and the head.

        Args:
            layer: as in `Task.build_model`.
            pooling: "last" (default): the last step's output; "mean": the mean over time.
            mlp, mlp_dropout: None (default) and 0, or as in `rnnzoo.stack`.
        """
        return models.stack(
            layer,
            features=self.input_shape[-1],
            outputs=CLASSES,
            pooling=_checks.choice("pooling", pooling, ("last", "mean")),
            head=self.outputs,
            name=self.name,
            mlp=mlp,
            mlp_dropout=mlp_dropout,
        )

    @property
    def baseline(self):
        return {"accuracy": 1 / CLASSES, "loss": math.log(CLASSES)}
