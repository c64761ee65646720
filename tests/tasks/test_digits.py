"""The small digits: order, split, scale, and what is said where scikit-learn is missing."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from rnnzoo import tasks


def test_splits_are_the_images_in_their_order():
    task = tasks.get("digits")
    images, labels = load_digits(return_X_y=True)
    x, y = (np.concatenate(p) for p in zip(*(task.arrays(s) for s in SPLITS)))
    assert [task.size(s) for s in SPLITS] == [1297, 250, 250]
    assert (x.shape, x.dtype, y.dtype) == ((1797, 64, 1), np.float32, np.int32)
    np.testing.assert_array_equal(x[..., 0] * 16, images)
    np.testing.assert_array_equal(y, labels)
    assert (x.min(), x.max()) == (0.0, 1.0)


SPLITS = ("train", "validation", "test")


def test_rows():
    x, _ = tasks.get("digits", rows=True).arrays("test")
    np.testing.assert_array_equal(x * 16, load_digits().images[-250:])


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"needs scikit-learn.*pip install scikit-learn"):
        tasks.get("digits").arrays("test")


@pytest.mark.parametrize("size", [2, 49, 196, 784])
def test_bit_reversal(size):
    downsample = {784: 1, 196: 2, 49: 4}.get(size)
    if downsample is None:
        downsample, size = 14, 4
    task = tasks.get("pmnist", order="bit_reversal", downsample=downsample)
    bits = len(f"{size - 1:b}")
    numbers = [int(f"{n:0{bits}b}"[::-1], 2) for n in range(2**bits)]
    assert task.permutation.tolist() == [n for n in numbers if n < size]
    assert sorted(task.permutation) == list(range(size))
