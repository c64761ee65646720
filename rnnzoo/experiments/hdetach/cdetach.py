"""The ablation of h-detach: the gradient cut through c instead, which carries the memory."""

import functools

from rnnzoo.experiments.hdetach import _grid
from rnnzoo.experiments.hdetach._grid import cells, draw, summarize

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

_REPORT = {"source": "the report 'Re h-detach'", "confidence": _grid.REPORT}
PUBLISHED = [
    {"what": "c-detach, copying, T = 100", "value": "under 40 % after 200 epochs", **_REPORT},
    {"what": "c-detach, sequential MNIST", "value": "89.65 % at most, unstable", **_REPORT},
]
NOTES = [
    _grid.SAME_START,
    _grid.SHORT,
    "Paper scale is the published copying task, and pixels with 100 units; the report does not "
    "tell its p.",
]
SCALES = {
    "smoke": {
        "groups": {"T3": _grid.smoke_copy()},
        "variants": _grid.variants("c0.5"),
        "learning_rates": [1e-2],
        "seeds": [0],
    },
    "desk": {
        "groups": {"T30": _grid.short_copy(30)},
        "variants": _grid.variants("lstm", "h0.25", "c0.25"),
        "learning_rates": [3e-3, 1e-2, 3e-2],
        "seeds": [0, 1, 2, 3],
    },
    "paper": {
        "groups": {
            "T100": _grid.published_copy(100) | {"epochs": 200},
            "smnist": _grid.published_digits("smnist"),
        },
        "variants": _grid.variants("lstm", "h0.25", "c0.25"),
        "learning_rates": [1e-3],
        "seeds": [0, 1, 2],
    },
}
table = functools.partial(_grid.table, published=PUBLISHED)
