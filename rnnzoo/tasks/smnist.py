"""Sequential MNIST: a digit read pixel by pixel."""

import os

import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.tasks import _mnist
from rnnzoo.tasks._digit_task import DigitTask

POOLS = tuple(size for size in range(1, _mnist.SIDE) if _mnist.SIDE % size == 0)


class SequentialMNIST(DigitTask):
    """Sequential MNIST: the digit is told after the last of its 784 pixels.

        x_t = pixel_t / 255,   y = digit,   t = 1 ... 784 from left to right and top to bottom

    The first 50,000 of the 60,000 training images train, the last 10,000 validate, and the test
    images test. The data are the originals in their original order, whichever way they come, and
    are verified by their SHA-256: from ``mnist/*.gz`` in the folder that `data_dir` or the
    environment variable RNNZOO_DATA_DIR names, else downloaded through TensorFlow Datasets.
    They are read at the first use of a split.

    Args:
        rows: False (default): one pixel a step. True: one row a step, 28 steps of 28 pixels.
        downsample: the side of the squares of pixels that are averaged first: 1 (default: none),
            2, 4, 7 or 14. With 2 there are 196 steps.
        data_dir: a folder that holds the folder ``mnist``, or None (default): the folder that
            RNNZOO_DATA_DIR names, then ``~/.cache/rnnzoo``, then a download through TensorFlow
            Datasets.
        batch_size, seed: see `Task`.

    Shapes and dtypes: with side s = 28 / downsample, x `[B, s * s, 1]`, or `[B, s, s]` with rows,
    float32 in [0, 1]; y `[B]` int32; predictions `[B, 10]` logits.

    Baseline: guessing every digit alike.

    Errors: `rnnzoo.tasks.DataError` (a `ValueError`) at the first use of the data, if a file
    is missing, damaged, or not the original, or if the download fails.

    Source: settings of h-detach (arXiv:1810.03023) and its published code; data of LeCun, Cortes
    and Burges.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("smnist").input_shape
    (784, 1)
    >>> rnnzoo.tasks.get("smnist", rows=True, downsample=2).input_shape
    (14, 14)
    """

    name = "smnist"
    default_units = 100
    train_size, validation_size, test_size = 50_000, 10_000, 10_000

    def __init__(self, *, rows=False, downsample=1, data_dir=None, batch_size=100, seed=0):
        super().__init__(batch_size, seed)
        self.rows = _checks.boolean("rows", rows)
        self.downsample = _checks.integer("downsample", downsample)
        _checks.choice("downsample", self.downsample, POOLS)
        self.data_dir = _path("data_dir", data_dir)
        side = _mnist.SIDE // self.downsample
        self.input_shape = (side, side) if self.rows else (side * side, 1)

    def _load(self, split):
        images, labels = _mnist.load("test" if split == "test" else "train", self.data_dir)
        if split != "test":
            border = self.train_size
            kept = slice(0, border) if split == "train" else slice(border, None)
            images, labels = images[kept], labels[kept]
        side = _mnist.SIDE // self.downsample
        squares = images.reshape(-1, side, self.downsample, side, self.downsample)
        # Sums instead of means stay integers, in a quarter or half of the memory.
        sums = squares.sum(axis=(2, 4), dtype=np.uint16).reshape(-1, side * side)
        sums = sums if self.downsample > 1 else sums.astype(np.uint8)
        return self._arrange(sums), labels

    def _arrange(self, pixels):
        """The pixels `[n, steps]` in the order in which the model sees them."""
        return pixels

    def _decode(self, pixels, labels):
        # True division and not a product with 1/255, so that white is exactly 1.
        x = tf.cast(pixels, tf.float32) / (255.0 * self.downsample**2)
        return tf.reshape(x, [-1, *self.input_shape]), tf.cast(labels, tf.int32)


def _path(name, value):
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise TypeError(f"`{name}` must be a path or None. Received: {name}={value!r}")
    return os.fspath(value)
