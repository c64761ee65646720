"""The negative log-likelihood of frames of many keys, as a loss and as a metric."""

from __future__ import annotations

import keras
from keras import ops

from rnnzoo import _keras


def _frame_nll(y_true, logits):
    """The negative log-likelihood of each frame `[B, T]`, and which frames are real."""
    y_true, logits = ops.convert_to_tensor(y_true), ops.convert_to_tensor(logits)
    y_true = ops.cast(y_true, logits.dtype)
    real = ops.all(y_true >= 0, axis=-1)
    keys = ops.where(ops.expand_dims(real, -1), y_true, ops.zeros_like(y_true))
    return ops.sum(ops.softplus(logits) - keys * logits, axis=-1), real


@keras.saving.register_keras_serializable(package="rnnzoo")
class FrameLoss(keras.losses.Loss):
    """The negative log-likelihood of a frame in nats, summed over its keys, averaged over frames.

        -sum_k [y_k log p_k + (1 - y_k) log(1 - p_k)],   p = sigmoid(logits)

    Frames whose targets are negative are padding and do not count, nor do masked ones.

    Args:
        reduction, name, dtype: as for any Keras loss.

    Shapes: targets `[B, T, K]` of 0 and 1 (negative in the padding), predictions `[B, T, K]`
    logits. Without a real frame it is 0.

    Source: the evaluation of Boulanger-Lewandowski, Bengio & Vincent (2012), as in the code of
    Bai, Kolter & Koltun (arXiv:1803.01271).

    >>> from rnnzoo.metrics import FrameLoss
    >>> loss = FrameLoss()([[[1.0, 0.0], [-1.0, -1.0]]], [[[0.0, 0.0], [5.0, 5.0]]])
    >>> round(float(loss), 4)  # 2 log 2
    1.3863
    """

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "frame_loss",
        dtype: str | keras.DTypePolicy | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        losses, real = _frame_nll(y_true, y_pred)
        _keras.set_mask(losses, real)  # what Keras's own losses do for `ignore_class`
        return losses


@keras.saving.register_keras_serializable(package="rnnzoo")
class FrameNLL(keras.metrics.Metric):
    """The same as `FrameLoss`, over all frames of all batches: sum of nats / number of frames.

    Keras averages a loss over batches, each by its number of sequences; here a frame of a long
    piece counts as much as one of a short piece, as in the published evaluation.

    Args:
        name: the metric's name (default "nll").
        dtype: as for any Keras metric.

    Shapes: as for `FrameLoss`; sample weights `[B]`, `[B, 1]` or `[B, T]`. Without a real frame it
    is 0.

    >>> from rnnzoo.metrics import FrameNLL
    >>> metric = FrameNLL()
    >>> metric.update_state([[[1.0]]], [[[0.0]]])
    >>> metric.update_state([[[1.0], [1.0], [-1.0]]], [[[30.0], [30.0], [0.0]]])
    >>> round(float(metric.result()), 4)  # log 2 / 3
    0.231
    """

    def __init__(self, name: str = "nll", dtype: str | keras.DTypePolicy | None = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")
        _keras.set_direction(self, "down")

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = _keras.mask_of(y_pred)
        losses, real = _frame_nll(y_true, y_pred)
        weight = ops.cast(real, self.dtype)
        if mask is not None:
            weight = weight * ops.cast(mask, self.dtype)
        if sample_weight is not None:
            given = ops.cast(sample_weight, self.dtype)
            weight = weight * (ops.expand_dims(given, -1) if len(given.shape) == 1 else given)
        self.total.assign_add(ops.sum(ops.cast(losses, self.dtype) * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)
