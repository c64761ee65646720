"""LSTM and h-detach over learning rates: the best score, and how steady the training is."""

import functools
import statistics

from rnnzoo.experiments import _experiment
from rnnzoo.experiments.hdetach import _grid
from rnnzoo.experiments.hdetach._grid import cells, summarize

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

_FIGURE = {"source": _grid.PAPER, "confidence": _grid.SEEN.format("the figures")}
PUBLISHED = [
    {"what": "sequential MNIST, rate 1e-3, LSTM", "value": "unsteady until about epoch 50"}
    | _FIGURE,
    {"what": "sequential MNIST, rate 5e-4, LSTM", "value": "unsteady until about epoch 140"}
    | _FIGURE,
]
NOTES = [
    _grid.SAME_START,
    _grid.SHORT,
    "Here every learning rate is a result. The largest drop is how far the validation accuracy "
    "ever falls below the best before it.",
]
SCALES = {
    "smoke": {
        "groups": {"T3": _grid.smoke_copy()},
        "variants": _grid.variants("h0.5"),
        "learning_rates": [1e-2],
        "seeds": [0],
    },
    "desk": {
        "groups": {"T30": _grid.short_copy(30)},
        "variants": _grid.variants("lstm", "h0.5"),
        "learning_rates": [1e-3, 3e-3, 1e-2, 3e-2],
        "seeds": [0, 1, 2, 3],
    },
    "paper": {
        "groups": {
            "smnist": _grid.published_digits("smnist"),
            "T100": _grid.published_copy(100),
        },
        "variants": _grid.variants("lstm", "h0.25", "h0.5"),
        "learning_rates": [1e-4, 5e-4, 1e-3, 2e-3, 5e-3],
        "seeds": [0, 1, 2],
    },
}
table = functools.partial(_grid.table, published=PUBLISHED)
_SHOWN = {"best_of_each": "best validation accuracy", "largest_drop": "largest drop"}


def draw(settings, summary):
    """Best validation accuracy and largest drop against the learning rate, mean and each seed."""
    figure = _experiment.new_figure(9.6, 3.8 * max(1, len(summary)))
    rows = figure.subplots(max(1, len(summary)), 2, squeeze=False)
    for row, (group, found) in zip(rows, summary.items()):
        for panel, (key, words) in zip(row, _SHOWN.items()):
            for variant, one in found.items():
                _draw_rates(panel, settings, variant, one["rates"], key)
            panel.set(title=group, xlabel="learning rate", ylabel=words, xscale="log")
    if rows[0, 0].lines:
        rows[0, 0].legend(fontsize="small")
    return figure


def _draw_rates(panel, settings, variant, rates, key):
    """A diverged training has no point; a rate at which all did has no mean either."""
    color = _grid.color_of(settings, variant)
    known = {float(rate): found[key] for rate, found in rates.items() if found[key]}
    for rate, values in known.items():
        panel.plot([rate] * len(values), values, ".", color=color, alpha=0.5)
    means = [statistics.fmean(values) for values in known.values()]
    panel.plot(list(known), means, color=color, label=_grid.label(settings, variant))
