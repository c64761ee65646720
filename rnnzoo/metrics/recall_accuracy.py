"""The share of recalled symbols that are right."""

from __future__ import annotations

import keras
from keras import ops

from rnnzoo import _checks, _keras


@keras.saving.register_keras_serializable(package="rnnzoo")
class RecallAccuracy(keras.metrics.Mean):
    """The share of right symbols among the steps at which a symbol has to be recalled.

        sum over t with y_t != blank of [argmax p_t = y_t]  /  number of such t

    On the copying task these are the last ten steps. The steps are found by their targets and not
    by their place, so that the metric is right on any stretch of a sequence, as truncated BPTT
    hands them over, and for sequences of several lengths in one batch.

    Args:
        blank: the class that is no symbol (default 0).
        name: the metric's name (default "recall_accuracy").
        dtype: as for any Keras metric.

    Shapes: targets `[B, T]` (integers), predictions `[B, T, classes]`, sample weights `[B]`,
    `[B, 1]` or `[B, T]`. A stretch with no symbol in it changes nothing.

    Source: the accuracy of h-detach (arXiv:1810.03023), as its code counts it.

    >>> import numpy as np
    >>> from rnnzoo.metrics import RecallAccuracy
    >>> metric = RecallAccuracy()
    >>> metric.update_state(np.array([[0, 0, 2, 1]]), np.eye(3)[[[0, 2, 2, 2]]])
    >>> float(metric.result())
    0.5
    """

    def __init__(
        self,
        blank: int = 0,
        name: str = "recall_accuracy",
        dtype: str | keras.DTypePolicy | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.blank = _checks.integer("blank", blank, minimum=0)
        _keras.set_direction(
            self, "up"
        )  # what Keras's own accuracies tell `ModelCheckpoint(mode="auto")`

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = _keras.mask_of(y_pred)
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, "int64")
        right = ops.equal(y_true, ops.cast(ops.argmax(y_pred, axis=-1), "int64"))
        weight = ops.cast(ops.not_equal(y_true, self.blank), self.dtype)
        if mask is not None:
            weight = weight * ops.cast(mask, self.dtype)
        if sample_weight is not None:
            given = ops.cast(sample_weight, self.dtype)
            weight = weight * (ops.expand_dims(given, -1) if len(given.shape) == 1 else given)
        # Flat, because Keras would average over time first, and so count a step of a short stretch
        # for more than one of a long stretch.
        right = ops.reshape(ops.cast(right, self.dtype), [-1])
        return super().update_state(right, sample_weight=ops.reshape(weight, [-1]))

    def get_config(self):
        return {"blank": self.blank, "name": self.name, "dtype": self.dtype}
