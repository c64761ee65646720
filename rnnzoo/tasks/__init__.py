"""The tasks by name: data, loss, metrics, baseline and model head, ready for `model.fit`.

Listing them reads only the table below, so that it needs no TensorFlow.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from rnnzoo import _checks
from rnnzoo.tasks.originals._data import DataError

if TYPE_CHECKING:
    from rnnzoo.tasks._task import Task

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
_MUSIC = {"data_dir": None, "batch_size": 8, "seed": 0}
_TEXT = {"evaluation_batch_size": 10, "data_dir": None, "seed": 0}
_WORDS = {"steps": 700, "batch_size": 20, **_TEXT}
_CHARACTERS = {"steps": 1000, "batch_size": 32, **_TEXT}

_CLASSES = {
    "copy": "rnnzoo.tasks.copy:Copy",
    "adding": "rnnzoo.tasks.adding:Adding",
    "smnist": "rnnzoo.tasks.smnist:SequentialMNIST",
    "pmnist": "rnnzoo.tasks.pmnist:PermutedMNIST",
    "digits": "rnnzoo.tasks.digits:Digits",
    "transfer_copy": "rnnzoo.tasks.transfer_copy:TransferCopy",
    "teacher_student": "rnnzoo.tasks.teacher_student:TeacherStudent",
    "jsb": "rnnzoo.tasks.polyphonic_music:JSBChorales",
    "nottingham": "rnnzoo.tasks.polyphonic_music:Nottingham",
    "atis": "rnnzoo.tasks.atis:Atis",
    "ptb_word": "rnnzoo.tasks.ptb_word:PTBWord",
    "ptb_char": "rnnzoo.tasks.ptb_char:PTBChar",
    "wikitext2": "rnnzoo.tasks.wikitext2:WikiText2",
    "tiny_shakespeare": "rnnzoo.tasks.tiny_shakespeare:TinyShakespeare",
}
_TABLE = {
    "copy": (
        "repeat ten symbols after a delay, with a target at every step",
        {
            "delay": 100,
            "recalled": 10,
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
        {"order": "random", "permutation_seed": 150, **_PIXELS},
    ),
    "digits": (
        "tell scikit-learn's small digits from their pixels; needs no download",
        {"rows": False, "batch_size": 50, "seed": 0},
    ),
    "transfer_copy": (
        "copy after one delay in training, after others in evaluation",
        {
            "delay": 100,
            "delays": (200, 400, 500, 1000, 2000, 5000),
            "recalled": 10,
            "one_hot": False,
            "train_size": 100_000,
            "validation_size": 5_000,
            "test_size": 5_000,
            **_BATCHES,
        },
    ),
    "teacher_student": (
        "learn a linear recurrence with long memory from its inputs and outputs",
        {
            "nu_0": 0.99,
            "theta_0": math.pi,
            "state_size": 10,
            "length": 300,
            "rho": 0.0,
            "teacher_seed": 42,
            "train_size": 12_800,
            "validation_size": 1_280,
            "test_size": 1_280,
            "batch_size": 128,
            "seed": 0,
        },
    ),
    "jsb": ("the next frame of Bach's chorales, 88 keys at once", _MUSIC),
    "nottingham": ("the next frame of folk tunes with chords, 88 keys at once", _MUSIC),
    "atis": (
        "the slots of a flight request word by word, its intent, or both",
        {
            "target": "slots",
            "window": 3,
            "min_count": 2,
            "embedding_size": 100,
            "dropout": 0.5,
            "data_dir": None,
            "batch_size": 16,
            "seed": 0,
        },
    ),
    "ptb_word": ("the next word of the Penn Treebank", {"softmax": "full", **_WORDS}),
    "ptb_char": ("the next character of the Penn Treebank", _CHARACTERS),
    "wikitext2": ("the next word of Wikipedia's articles", {"softmax": "adaptive", **_WORDS}),
    "tiny_shakespeare": ("the next character of Shakespeare's plays", _CHARACTERS),
}


def names() -> tuple[str, ...]:
    """The tasks' names, in the order of the documentation."""
    return tuple(_TABLE)


def describe(name: str) -> Description:
    """What a task is, in one line, with the defaults of its options.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.describe("copy").options["delay"]
    100
    """
    summary, options = _TABLE[_checks.choice("name", name, names())]
    return Description(name, summary, dict(options))


def get(name: str, **options: Any) -> Task:
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
