"""Digits read pixel by pixel, with LSTM and h-detach."""

import functools

from rnnzoo.experiments.hdetach import _grid
from rnnzoo.experiments.hdetach._grid import cells, draw, summarize

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

_TABLE = {"source": _grid.PAPER, "confidence": _grid.SEEN.format("a table")}
_REPORT = {"source": "the report 'Re h-detach'", "confidence": _grid.REPORT}
PUBLISHED = [
    {"what": "test accuracy, LSTM", "value": 0.985, **_TABLE},
    {"what": "test accuracy, h-detach", "value": 0.985, **_TABLE},
    {"what": "test accuracy, LSTM, reproduction", "value": 0.9860, **_REPORT},
    {"what": "test accuracy, h-detach, reproduction", "value": 0.9862, **_REPORT},
    {"what": "LSTM's curve at the rate 0.001", "value": "unsteady until about epoch 50"}
    | {"source": _grid.PAPER, "confidence": _grid.SEEN.format("the figures")},
]
NOTES = [
    _grid.SAME_START,
    "50,000 images train, 10,000 validate, 10,000 test, at every scale. The published setting is "
    "784 pixels, 100 units, 200 epochs, weights and biases uniform in +-1/sqrt(100): that is the "
    "paper scale. At desk scale squares of four by four pixels are averaged first, which leaves 49 "
    "steps, the initial weights are Keras's, and there are 32 units and 6 epochs.",
]


def scales(task):
    """The three scales, for the digits in the order of `task`."""
    desk = {
        "task": task,
        "task_options": {"downsample": 4},
        "units": 32,
        "epochs": 6,
    }
    return {
        "smoke": _scale(_grid.smoke_digits(task), task, ("lstm", "h0.5"), [1e-2], [0]),
        "desk": _scale(desk, task, ("lstm", "h0.25"), [3e-3, 1e-2], [0, 1]),
        "paper": _scale(
            _grid.published_digits(task),
            task,
            ("lstm", "h0.25", "h0.5"),
            [1e-4, 5e-4, 1e-3],
            [0, 1, 2],
        ),
    }


def _scale(group, task, variants, rates, seeds):
    return {
        "groups": {task: group},
        "variants": _grid.variants(*variants),
        "learning_rates": rates,
        "seeds": seeds,
    }


SCALES = scales("smnist")
table = functools.partial(_grid.table, published=PUBLISHED)
