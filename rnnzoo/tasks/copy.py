"""The copying task, as the h-detach code defines it."""

import math

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.metrics import RecallAccuracy
from rnnzoo.tasks._task import Task

SYMBOLS = 8  # numbered 1 to 8
RECALLED = 10
BLANK = 0
MARKER = 9


class Copy(Task):
    """The copying task: ten symbols, a delay, a marker, and the ten symbols again.

        x = s_1 ... s_10, 0 (delay - 1 times), 9, 0 (10 times)
        y = 0 (delay + 10 times), s_1 ... s_10

    with each s uniform over 1 ... 8. The sequence has ``delay + 20`` steps; with another number of
    symbols to recall, that number stands for 10 everywhere. The loss is the cross entropy averaged
    over all steps. The published code draws its batches with replacement; here an epoch is a
    permutation of the training set.

    Args:
        delay: the published T, at least 1 (default 100).
        recalled: how many symbols, at least 1 (default 10, as published). Fewer are learned in far
            fewer updates, and have to be kept as long.
        one_hot: False (default, as published): the input is the symbol's number as one real
            number. True: one of ten inputs is 1.
        train_size, validation_size: sequences, at least 1 (defaults 100,000 and 5,000, as
            published).
        test_size: sequences, at least 1 (default 5,000).
        batch_size, seed: see `Task`.

    Shapes and dtypes: x `[B, delay + 20, 1]` or `[B, delay + 20, 10]` float32, y
    `[B, delay + 20]` int32, predictions `[B, delay + 20, 9]` logits.

    Baseline: a model that counts steps but forgets the symbols predicts 0 until the marker and
    then every symbol with probability 1/8. Its cross entropy is ``10 ln 8 / (delay + 20)``, its
    accuracy 1/8 over the last ten steps and ``(delay + 10 + 10/8) / (delay + 20)`` over all.

    Source: h-detach (arXiv:1810.03023), section 4, and its published code.

    >>> import rnnzoo.tasks
    >>> task = rnnzoo.tasks.get("copy", delay=3, train_size=4)
    >>> x, y = task.arrays("train")
    >>> x.shape, y.shape
    ((4, 23, 1), (4, 23))
    >>> bool((x[:, :10, 0] == y[:, 13:]).all())
    True
    """

    name = "copy"
    monitor = "val_recall_accuracy"
    monitor_mode = "max"
    per_step = True
    outputs = "logits"
    optimum = {"recall_accuracy": 1.0, "accuracy": 1.0, "loss": 0.0}

    def __init__(
        self,
        *,
        delay=100,
        recalled=RECALLED,
        one_hot=False,
        train_size=100_000,
        validation_size=5_000,
        test_size=5_000,
        batch_size=100,
        seed=0,
    ):
        super().__init__(batch_size, seed)
        self.delay = _checks.integer("delay", delay)
        self.one_hot = _checks.boolean("one_hot", one_hot)
        self.train_size = _checks.integer("train_size", train_size)
        self.validation_size = _checks.integer("validation_size", validation_size)
        self.test_size = _checks.integer("test_size", test_size)
        self.recalled = _checks.integer("recalled", recalled)
        self.length = self.delay + 2 * self.recalled
        self.input_shape = (self.length, MARKER + 1 if self.one_hot else 1)
        self.output_shape = (self.length, SYMBOLS + 1)

    @property
    def loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @property
    def metrics(self):
        return [RecallAccuracy(), keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    @property
    def baseline(self):
        guessed = self.recalled / SYMBOLS
        return {
            "recall_accuracy": 1 / SYMBOLS,
            "accuracy": (self.length - self.recalled + guessed) / self.length,
            "loss": self.recalled * math.log(SYMBOLS) / self.length,
        }

    def _load(self, split):
        shape = (self.size(split), self.recalled)
        return (self._generator(split).integers(1, SYMBOLS + 1, shape, dtype=np.uint8),)

    def _decode(self, symbols):
        symbols = tf.cast(symbols, tf.int32)
        blanks = tf.zeros([tf.shape(symbols)[0], self.length - self.recalled], tf.int32)
        before = blanks[:, : self.delay - 1]
        marker = tf.fill([tf.shape(symbols)[0], 1], MARKER)
        x = tf.concat([symbols, before, marker, blanks[:, : self.recalled]], axis=1)
        x = tf.ensure_shape(x, [None, self.length])
        y = tf.ensure_shape(tf.concat([blanks, symbols], axis=1), [None, self.length])
        if self.one_hot:
            return tf.one_hot(x, MARKER + 1), y
        return tf.cast(x, tf.float32)[..., None], y
