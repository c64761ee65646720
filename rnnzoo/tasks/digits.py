"""Small digits, pixel by pixel: a real task that needs no download."""

import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.tasks._digit_task import DigitTask

SIDE = 8
WHITE = 16


class Digits(DigitTask):
    """Sequential digits: 8 x 8 images of handwritten digits, read pixel by pixel.

        x_t = pixel_t / 16,   y = digit,   t = 1 ... 64 from left to right and top to bottom

    The 1,797 images that scikit-learn comes with, in its order: the first 1,297 train, the next 250
    validate, the last 250 test. Writers stand one after another in that order, so most of those who
    are tested on have not been trained on, which makes the split harder than a shuffled one.

    Args:
        rows: False (default): one pixel a step. True: one row a step, 8 steps of 8 pixels.
        batch_size: see `Task` (default 50).
        seed: see `Task`.

    Shapes and dtypes: x `[B, 64, 1]`, or `[B, 8, 8]` with rows, float32 in [0, 1]; y `[B]` int32;
    predictions `[B, 10]` logits.

    Baseline: guessing every digit alike.

    Errors: `ImportError` at the first use of the data, where scikit-learn is not installed.

    Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits (1998), the test set, as
    `sklearn.datasets.load_digits` holds it.

    >>> import rnnzoo.tasks
    >>> task = rnnzoo.tasks.get("digits")
    >>> task.input_shape, task.size("train")
    ((64, 1), 1297)
    """

    name = "digits"
    default_units = 64
    train_size, validation_size, test_size = 1_297, 250, 250

    def __init__(self, *, rows=False, batch_size=50, seed=0):
        super().__init__(batch_size, seed)
        self.rows = _checks.boolean("rows", rows)
        self.input_shape = (SIDE, SIDE) if self.rows else (SIDE * SIDE, 1)

    def _load(self, split):
        pixels, labels = _originals()
        begin = {
            "train": 0,
            "validation": self.train_size,
            "test": self.train_size + self.validation_size,
        }[split]
        rows = slice(begin, begin + self.size(split))
        return pixels[rows], labels[rows]

    def _decode(self, pixels, labels):
        x = tf.cast(pixels, tf.float32) / WHITE
        return tf.reshape(x, [-1, *self.input_shape]), tf.cast(labels, tf.int32)


def _originals():
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The task digits needs scikit-learn, which holds its images: pip install scikit-learn."
        ) from error
    bunch = load_digits()
    return bunch.data.astype(np.uint8), bunch.target.astype(np.uint8)
