"""LSTM and h-detach without clipping of the gradient's norm, beside the same with it."""

import functools

from rnnzoo.experiments.hdetach import _grid
from rnnzoo.experiments.hdetach._grid import cells, draw, summarize

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

_FIGURE = {"source": _grid.PAPER, "confidence": _grid.SEEN.format("the figures")}
PUBLISHED = [
    {"what": "no clipping, LSTM, rates 5e-4 and 1e-4", "value": "erratic / never learns"} | _FIGURE,
    {"what": "no clipping, h-detach, the same rates", "value": "smooth", **_FIGURE},
]
NOTES = [
    _grid.SAME_START,
    _grid.SHORT,
    "The group `unclipped` has no clipping of any kind, `clipped` a global norm of at most 1; both "
    "have Adam. What was seen of the paper does not tell the task of this figure; the paper scale "
    "takes sequential MNIST at the two published rates.",
]


def _both(group):
    return {"unclipped": {**group, "clip": False}, "clipped": group}


SCALES = {
    "smoke": {
        "groups": {"unclipped": _grid.smoke_copy(clip=False)},
        "variants": _grid.variants("h0.5"),
        "learning_rates": [1e-2],
        "seeds": [0],
    },
    "desk": {
        "groups": _both(_grid.short_copy(30)),
        "variants": _grid.variants("lstm", "h0.5"),
        "learning_rates": [3e-3, 1e-2, 3e-2],
        "seeds": [0, 1, 2, 3],
    },
    "paper": {
        "groups": _both(_grid.published_digits("smnist")),
        "variants": _grid.variants("lstm", "h0.25"),
        "learning_rates": [1e-4, 5e-4],
        "seeds": [0, 1, 2],
    },
}
table = functools.partial(_grid.table, published=PUBLISHED)
