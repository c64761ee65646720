"""Half the mean squared error, the loss of teacher and student."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="rnnzoo")
class HalfSquaredError(keras.losses.Loss):
    """Half the squared error, averaged over everything but the batch, then over the batch.

        mean of (y - p)^2 / 2

    Args:
        reduction, name, dtype: as for any Keras loss.

    Shapes: targets and predictions alike, `[B, ..., F]`, floating.

    Source: the loss of the teacher-student experiments of Zucchet & Orvieto (2024).

    >>> from rnnzoo.metrics import HalfSquaredError
    >>> float(HalfSquaredError()([[0.0], [2.0]], [[0.0], [0.0]]))
    1.0
    """

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "half_squared_error",
        dtype: str | keras.DTypePolicy | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, y_pred.dtype)
        return ops.mean(ops.square(y_pred - y_true), axis=-1) / 2
