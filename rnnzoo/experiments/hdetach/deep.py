"""Stacked and bidirectional LSTMs with h-detach, which the reproduction report left open.

Every layer and direction has its own draws. In a stack the gradient also reaches a lower layer
through the outputs of each step, which are never cut.
"""

import functools

from rnnzoo.experiments.hdetach import _grid
from rnnzoo.experiments.hdetach._grid import cells, draw, summarize

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

PUBLISHED = [
    {
        "what": "h-detach in stacked LSTMs",
        "value": "discussed, not measured",
        "source": "a public review of the paper",
        "confidence": "seen",
    },
    {
        "what": "h-detach in stacked and bidirectional LSTMs",
        "value": "an open question",
        "source": "the report 'Re h-detach'",
        "confidence": "seen",
    },
]
NOTES = [
    _grid.SAME_START,
    _grid.SHORT,
    "Layers of a group are equally wide, and a bidirectional layer has that width in each "
    "direction; groups therefore differ in parameters, the layers compared within one do not.",
    "There is no published setting: the paper scale is the published copying task with more "
    "layers or directions.",
]
DEPTHS = {
    "one": {},
    "stacked": {"depth": 2},
    "bidirectional": {"bidirectional": True},
    "both": {"depth": 2, "bidirectional": True},
}


def _groups(group, *names):
    return {name: {**group, **DEPTHS[name]} for name in names}


SCALES = {
    "smoke": {
        "groups": _groups(_grid.smoke_copy(), "both"),
        "variants": _grid.variants("h0.5"),
        "learning_rates": [1e-2],
        "seeds": [0],
    },
    "desk": {
        "groups": _groups(_grid.short_copy(30), "stacked", "bidirectional"),
        "variants": _grid.variants("lstm", "h0.5"),
        "learning_rates": [3e-3, 1e-2, 3e-2],
        "seeds": [0, 1, 2, 3],
    },
    "paper": {
        "groups": _groups(_grid.published_copy(100), *DEPTHS),
        "variants": _grid.variants("lstm", "h0.25", "h0.5"),
        "learning_rates": [1e-3, 3e-3],
        "seeds": [0, 1, 2],
    },
}
table = functools.partial(_grid.table, published=PUBLISHED)
