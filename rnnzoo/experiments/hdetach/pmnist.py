"""Digits read pixel by pixel in a fixed random order, with LSTM and h-detach."""

import functools

from rnnzoo.experiments.hdetach import _grid
from rnnzoo.experiments.hdetach import smnist as hdetach_smnist
from rnnzoo.experiments.hdetach._grid import cells, draw, summarize

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

_TABLE = {"source": _grid.PAPER, "confidence": _grid.SEEN.format("a table")}
PUBLISHED = [
    {"what": "test accuracy, LSTM", "value": 0.911, **_TABLE},
    {"what": "test accuracy, h-detach", "value": 0.923, **_TABLE},
    {"what": "test accuracy, h-detach, reproduction", "value": 0.9196}
    | {"source": "the report 'Re h-detach'", "confidence": _grid.REPORT},
]
NOTES = [
    *hdetach_smnist.NOTES,
    "The order of the 784 pixels at paper scale is that of the published code's result; with fewer "
    "pixels it is drawn from the same seed, after the averaging.",
]
SCALES = hdetach_smnist.scales("pmnist")
table = functools.partial(_grid.table, published=PUBLISHED)
