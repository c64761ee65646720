"""Perplexity and bits per character: metrics that count every token once, and the loss they need.

Keras's mean metrics average over the batches' means; over a stream whose last batch is shorter, or
has padding, that is not the mean over tokens. These keep the sum and the count apart.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from rnnzoo import _checks, _keras

OUTPUTS = ("logits", "target_log_probability")


def cross_entropy(y_true, y_pred, outputs):
    """The nats that each target costs, `[B, T]`."""
    if outputs == "target_log_probability":
        return -y_pred
    return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


class _MeanNats(keras.metrics.Metric):
    """The sum of weighted nats and the sum of weights."""

    def __init__(self, outputs, name, dtype):
        super().__init__(name=name, dtype=dtype)
        self.outputs = _checks.choice("outputs", outputs, OUTPUTS)
        self.total = self.add_weight(shape=(), initializer="zeros", name="total")
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")
        _keras.set_direction(
            self, "down"
        )  # what Keras's own losses tell `ModelCheckpoint(mode="auto")`

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = _keras.mask_of(y_pred)
        y_pred = ops.convert_to_tensor(y_pred)
        nats = ops.cast(cross_entropy(y_true, y_pred, self.outputs), self.dtype)
        weight = ops.ones_like(nats)
        if sample_weight is not None:
            given = ops.cast(sample_weight, self.dtype)
            weight = weight * (ops.expand_dims(given, -1) if len(given.shape) == 1 else given)
        if mask is not None:
            weight = weight * ops.cast(mask, self.dtype)
        # A target of no weight may cost anything, and infinity times zero is no number.
        nats = ops.where(weight == 0, ops.zeros_like(nats), nats)
        self.total.assign_add(ops.sum(nats * weight))
        self.count.assign_add(ops.sum(weight))

    def mean(self):
        return ops.divide_no_nan(self.total, self.count)

    def get_config(self):
        return {"outputs": self.outputs, "name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="rnnzoo")
class Perplexity(_MeanNats):
    """The perplexity: the exponential of the mean nats a token.

        exp( sum over tokens of w (-ln p(y)) / sum over tokens of w )

    Args:
        outputs: what the model gives: "logits" over the vocabulary (default), or
            "target_log_probability", ln p(y) itself, as an `AdaptiveSoftmax` does in training.
        name: the metric's name (default "perplexity").
        dtype: as for any Keras metric.

    Shapes: targets `[B, T]` (integers), predictions `[B, T, vocabulary]` or `[B, T]`, sample
    weights `[B]`, `[B, 1]` or `[B, T]`. Masked steps do not count. Without any token it is 1.

    >>> import numpy as np
    >>> from rnnzoo.metrics.perplexity import Perplexity
    >>> metric = Perplexity()
    >>> metric.update_state(np.array([[0, 3]]), np.zeros([1, 2, 4]))
    >>> round(float(metric.result()), 4)
    4.0
    """

    def __init__(
        self,
        outputs: str = "logits",
        name: str = "perplexity",
        dtype: str | keras.DTypePolicy | None = None,
    ):
        super().__init__(outputs, name, dtype)

    def result(self):
        return ops.exp(self.mean())


@keras.saving.register_keras_serializable(package="rnnzoo")
class BitsPerCharacter(_MeanNats):
    """The mean bits that a character costs.

        sum over characters of w (-log2 p(y)) / sum over characters of w

    Arguments and shapes as for `Perplexity`. Without any character it is 0.

    >>> import numpy as np
    >>> from rnnzoo.metrics.perplexity import BitsPerCharacter
    >>> metric = BitsPerCharacter()
    >>> metric.update_state(np.array([[0, 3]]), np.zeros([1, 2, 4]))
    >>> round(float(metric.result()), 4)
    2.0
    """

    def __init__(
        self,
        outputs: str = "logits",
        name: str = "bits_per_character",
        dtype: str | keras.DTypePolicy | None = None,
    ):
        super().__init__(outputs, name, dtype)

    def result(self):
        return self.mean() / math.log(2.0)


@keras.saving.register_keras_serializable(package="rnnzoo")
class TokenCrossEntropy(keras.losses.Loss):
    """The mean nats that a token costs; tokens of weight 0 do not count in the mean.

        sum over tokens of w (-ln p(y)) / sum over tokens of w

    Args:
        outputs: as for `Perplexity`.
        reduction: as for any Keras loss (default "mean_with_sample_weight").
        name, dtype: as for any Keras loss.

    Shapes as for `Perplexity`.

    >>> import numpy as np
    >>> from rnnzoo.metrics.perplexity import TokenCrossEntropy
    >>> loss = TokenCrossEntropy("target_log_probability")
    >>> float(loss(np.array([[7, 9]]), np.array([[-1.0, -5.0]]), np.array([[1.0, 0.0]])))
    1.0
    """

    def __init__(
        self,
        outputs: str = "logits",
        reduction: str = "mean_with_sample_weight",
        name: str = "token_cross_entropy",
        dtype: str | keras.DTypePolicy | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.outputs = _checks.choice("outputs", outputs, OUTPUTS)

    def call(self, y_true, y_pred):
        return cross_entropy(y_true, y_pred, self.outputs)

    def get_config(self):
        return {**super().get_config(), "outputs": self.outputs}
