"""What the papers show, run again: one file for each experiment.

`rnnzoo reproduce` lists these. Listing reads only the table below, so that it needs no TensorFlow.
What an experiment's file defines is told in `rnnzoo.experiments._experiment`.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, NamedTuple

from rnnzoo import _checks

if TYPE_CHECKING:
    import rich.console

SCALES = ("smoke", "desk", "paper")


class Description(NamedTuple):
    """An experiment's ID, where it is, one line about it, and what each scale costs."""

    id: str
    module: str
    summary: str
    cost: dict


def _hdetach_cost(desk):
    return {"smoke": "seconds", "desk": desk, "paper": "days; for a GPU"}


def _memory_cost(desk, paper):
    return {"smoke": "seconds", "desk": desk, "paper": paper}


_TABLE = {
    "rivals": (
        "rnnzoo.experiments.rivals",
        "recurrent and feed-forward layers at matched parameter counts on six tasks",
        {
            "smoke": "under a minute",
            "desk": "--task ptb_char --jobs 2 took 19 minutes on two cores; the other tasks were "
            "not timed alone (their fastest epochs add up to 13 to 27)",
            "paper": "days; for a GPU",
        },
    ),
    "feedforward/speed": (
        "rnnzoo.experiments.feedforward.speed",
        "bytes, latency, tokens per second: recurrent, truncated, convolutional, attention models",
        {"smoke": "seconds", "desk": "a minute and a half", "paper": "an hour; for a GPU"},
    ),
    "stable/approximation": (
        "rnnzoo.experiments.stable.approximation",
        "gradient gap and weight distance of truncated models on random Gaussian instances",
        {"smoke": "seconds", "desk": "6 minutes on one core", "paper": "hours"},
    ),
    "stable/lemma1": (
        "rnnzoo.experiments.stable.lemma1",
        "state error of truncated layers against k, measured and bound",
        {"smoke": "seconds", "desk": "2 minutes on one core", "paper": "hours"},
    ),
    "stable/theorem1": (
        "rnnzoo.experiments.stable.theorem1",
        "prediction gap of trained truncated models against k",
        {"smoke": "seconds", "desk": "5 minutes on one core", "paper": "hours"},
    ),
    "hdetach/copy": (
        "rnnzoo.experiments.hdetach.copy",
        "the copying task: accuracy curves, epochs to 80 and 99 %, every seed",
        _hdetach_cost("an hour on one core; --only T30 and --only T100 share it between two"),
    ),
    "hdetach/transfer": (
        "rnnzoo.experiments.hdetach.transfer",
        "the copying task at longer delays than trained on",
        _hdetach_cost("20 minutes on one core"),
    ),
    "hdetach/cdetach": (
        "rnnzoo.experiments.hdetach.cdetach",
        "the gradient cut through c instead of h",
        _hdetach_cost("16 minutes on one core"),
    ),
    "hdetach/noclip": (
        "rnnzoo.experiments.hdetach.noclip",
        "with and without clipping of the gradient's norm",
        _hdetach_cost("18 minutes on one core"),
    ),
    "hdetach/robustness": (
        "rnnzoo.experiments.hdetach.robustness",
        "LSTM and h-detach over learning rates",
        _hdetach_cost("20 minutes on one core"),
    ),
    "hdetach/smnist": (
        "rnnzoo.experiments.hdetach.smnist",
        "digits read pixel by pixel",
        _hdetach_cost("7 minutes on one shared core"),
    ),
    "hdetach/pmnist": (
        "rnnzoo.experiments.hdetach.pmnist",
        "digits read pixel by pixel in a fixed random order",
        _hdetach_cost("7 minutes on one shared core"),
    ),
    "hdetach/deep": (
        "rnnzoo.experiments.hdetach.deep",
        "stacked and bidirectional LSTMs with h-detach",
        _hdetach_cost("20 to 25 minutes on one core"),
    ),
    "memory/teacher": (
        "rnnzoo.experiments.memory.teacher",
        "a linear teacher of long memory, learned by an LRU and by a dense linear RNN",
        _memory_cost("20 to 40 minutes on one core", "hours"),
    ),
    "memory/sensitivity": (
        "rnnzoo.experiments.memory.sensitivity",
        "moments of one unit's state and of its derivative: closed forms and Monte Carlo",
        _memory_cost("a minute on one core", "an hour"),
    ),
    "memory/landscape": (
        "rnnzoo.experiments.memory.landscape",
        "one unit's loss in each parametrization, and the path that Adam takes",
        _memory_cost("a minute on one core", "minutes"),
    ),
    "memory/ablation": (
        "rnnzoo.experiments.memory.ablation",
        "from the dense linear RNN to the LRU one change at a time, and over heads",
        _memory_cost("10 to 30 minutes on one core", "hours"),
    ),
    "memory/hessian": (
        "rnnzoo.experiments.memory.hessian",
        "the Hessian at the optimum: dense against complex diagonal",
        _memory_cost("4 minutes on one core", "minutes"),
    ),
    "memory/gru": (
        "rnnzoo.experiments.memory.gru",
        "a GRU's Jacobian over distance, against a diagonal recurrence's",
        _memory_cost("a minute on one core", "an hour"),
    ),
    "memory/signal": (
        "rnnzoo.experiments.memory.signal",
        "signals and gradients in deep models over time scales, with and without norms",
        _memory_cost("10 minutes on one core", "an hour"),
    ),
}


def names() -> tuple[str, ...]:
    """The IDs of the experiments."""
    return tuple(_TABLE)


def describe(id: str) -> Description:
    """What an experiment is and costs.

    >>> from rnnzoo import experiments
    >>> experiments.describe("rivals").cost["smoke"]
    'under a minute'
    """
    return Description(id, *_TABLE[_checks.choice("id", id, names())])


def reproduce(
    id: str,
    scale: str = "smoke",
    out_dir: str | os.PathLike | None = None,
    only: str | None = None,
    console: rich.console.Console | None = None,
    jobs: int = 1,
) -> dict:
    """Run an experiment, or what is left of it, and write its record and figure.

    Args:
        id: one of `names()`.
        scale: "smoke" (under a minute, says nothing about the science), "desk" (two cores) or
            "paper" (the published size, for a GPU).
        out_dir: the folder of the results; by default ``results/ID/SCALE``. Called again, finished
            cells are not run again, and a training that was stopped goes on after its last epoch.
        only: None (default): everything. Else only the cells of this name or below it, for example
            "adding" or "adding/lstm"; the record then tells which are missing.
        console: a `rich.console.Console`; by default standard output.
        jobs: cells that are worked on at once (default 1), each in a process of its own on its
            share of the cores.

    Returns:
        What ``metrics.json`` holds, as a dict.

    Raises:
        ValueError: for an unknown ID, scale or cell, more jobs than cores, or an `out_dir` with
            other settings in it.
    """
    description = describe(id)
    _checks.choice("scale", scale, SCALES)
    module = importlib.import_module(description.module)
    from rnnzoo.experiments import _experiment

    return _experiment.run(id, module, scale, out_dir, only, console, jobs)
