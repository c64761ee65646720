"""The tasks by name: data, loss, metrics, baseline and model head, ready for `model.fit`.

Listing them reads only the table below, so that it needs no TensorFlow.
"""

import importlib
from typing import NamedTuple

from rnnzoo import _checks
from rnnzoo.tasks._data import DataError

__all__ = ["DataError", "describe", "get", "names"]


class Description(NamedTuple):
    """A task's name, one line about it, and its options with their defaults."""

    name: str
    summary: str
    options: dict

    def __str__(self):
        options = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}: {self.summary} ({options})"


_BATCHES = {"batch_size": 100, "seed": 0}
_PIXELS = {"rows": False, "downsample": 1, "data_dir": None, **_BATCHES}

_CLASSES = {
    "copy": "rnnzoo.tasks.copy:Copy",
    "adding": "rnnzoo.tasks.adding:Adding",
    "smnist": "rnnzoo.tasks.smnist:SequentialMNIST",
    "pmnist": "rnnzoo.tasks.pmnist:PermutedMNIST",
}
_TABLE = {
    "copy": (
        "repeat ten symbols after a delay, with a target at every step",
        {
            "delay": 100,
            "one_hot": False,
            "train_size": 100_000,
            "validation_size": 5_000,
            "test_size": 5_000,
            **_BATCHES,
        },
    ),
    "adding": (
        "add the two marked numbers of a long sequence",
        {
            "length": 600,
            "markers": "anywhere",
            "train_size": 50_000,
            "validation_size": 1_000,
            "test_size": 1_000,
            **_BATCHES,
        },
    ),
    "smnist": ("tell the digit from its pixels, one at a time", _PIXELS),
    "pmnist": (
        "tell the digit from its pixels in a fixed random order",
        {"permutation_seed": 150, **_PIXELS},
    ),
}


def names():
    """The tasks' names, in the order of the documentation."""
    return tuple(_TABLE)


def describe(name):
    """What a task is, in one line, with the defaults of its options.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.describe("copy").options["delay"]
    100
    """
    summary, options = _TABLE[_checks.choice("name", name, names())]
    return Description(name, summary, dict(options))


def get(name, **options):
    """A task by its name.

    Args:
        name: one of `names()`.
        **options: the task's options; `describe(name)` tells their defaults, and each task's
            class what they mean.

    Returns:
        A task, see `rnnzoo.tasks._task.Task`.

    Raises:
        ValueError: for an unknown name or option, or an option out of its range.
        TypeError: for an option of the wrong type.

    >>> import rnnzoo.tasks
    >>> task = rnnzoo.tasks.get("copy", delay=5, train_size=200)
    >>> task.input_shape, task.output_shape
    ((25, 1), (25, 9))
    """
    known = describe(name).options
    for option, value in options.items():
        if option not in known:
            raise ValueError(
                f"`{option}` must be an option of the task {name}: one of {', '.join(known)}. "
                f"Received: {option}={value!r}"
            )
    module, _, attribute = _CLASSES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)(**options)
