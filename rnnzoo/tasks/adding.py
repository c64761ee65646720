"""The adding problem."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.tasks._task import Task

MARKERS = ("anywhere", "halves")


class Adding(Task):
    """The adding problem: the sum of the two marked numbers of a long sequence.

        x_t = (u_t, m_t),   u_t uniform in [0, 1),   m_t = 1 at two steps and 0 elsewhere
        y = sum_t m_t u_t

    Args:
        length: the number of steps T, at least 2 (default 600).
        markers: "anywhere" (default): the two marked steps are any two different ones, all pairs
            equally likely, as in the TCN code. "halves": one is uniform over the first
            ``length // 2`` steps and the other over the rest.
        train_size, validation_size, test_size: sequences, at least 1 (defaults 50,000, 1,000 and
            1,000: the first and the last as in the TCN code, which has no validation split).
        batch_size, seed: see `Task`.

    Shapes and dtypes: x `[B, T, 2]` float32 (number, marker), y `[B, 1]` float32, predictions
    `[B, 1]`. The loss is the mean squared error.

    Baseline: the best answer that does not look is 1; its mean squared error is the variance of a
    sum of two uniform numbers, 2/12 = 1/6, and its mean absolute error is 1/3.

    Source: Hochreiter & Schmidhuber, Long Short-Term Memory (1997); sizes and markers as in Bai,
    Kolter & Koltun (arXiv:1803.01271), section 4 and its code.

    >>> import rnnzoo.tasks
    >>> x, y = rnnzoo.tasks.get("adding", length=20, train_size=4).arrays("train")
    >>> x.shape, y.shape
    ((4, 20, 2), (4, 1))
    >>> [int(count) for count in x[:, :, 1].sum(axis=1)]
    [2, 2, 2, 2]
    """

    name = "adding"
    outputs = "sum"
    optimum = {"loss": 0.0, "mean_absolute_error": 0.0}

    def __init__(
        self,
        *,
        length=600,
        markers="anywhere",
        train_size=50_000,
        validation_size=1_000,
        test_size=1_000,
        batch_size=100,
        seed=0,
    ):
        super().__init__(batch_size, seed)
        self.length = _checks.integer("length", length, minimum=2)
        self.markers = _checks.choice("markers", markers, MARKERS)
        self.train_size = _checks.integer("train_size", train_size)
        self.validation_size = _checks.integer("validation_size", validation_size)
        self.test_size = _checks.integer("test_size", test_size)
        self.input_shape = (self.length, 2)
        self.output_shape = (1,)

    @property
    def loss(self):
        return keras.losses.MeanSquaredError()

    @property
    def metrics(self):
        return [keras.metrics.MeanAbsoluteError(name="mean_absolute_error")]

    @property
    def baseline(self):
        return {"loss": 2 / 12, "mean_absolute_error": 1 / 3}

    def _load(self, split):
        generator, size = self._generator(split), self.size(split)
        values = generator.random((size, self.length), dtype=np.float32)
        if self.markers == "halves":
            half = self.length // 2
            first = generator.integers(0, half, size)
            second = generator.integers(half, self.length, size)
        else:
            # The second is drawn from the steps that are left, which makes all pairs as likely.
            first = generator.integers(0, self.length, size)
            second = generator.integers(0, self.length - 1, size)
            second += second >= first
        return values, np.stack([first, second], axis=1).astype(np.int32)

    def _decode(self, values, marked):
        markers = tf.reduce_sum(tf.one_hot(marked, self.length), axis=1)
        x = tf.stack([values, markers], axis=-1)
        y = tf.reduce_sum(tf.gather(values, marked, batch_dims=1), axis=1, keepdims=True)
        return x, y
