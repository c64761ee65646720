"""Longer delays than trained on: what LSTM and h-detach recall of the copying task there."""

import statistics

from rnnzoo.experiments import _experiment
from rnnzoo.experiments.hdetach import _grid

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

_DELAYS = (200, 400, 500, 1000, 2000, 5000)
_TABLE = {
    "lstm": (0.6485, 0.4817, 0.4303, 0.2882, 0.1948, 0.1458),
    "h0.25": (0.9072, 0.7776, 0.7468, 0.6319, 0.5183, 0.4235),
    "h0.5": (0.7479, 0.5491, 0.5243, 0.4354, 0.3434, 0.2455),
}
PUBLISHED = [
    {"what": f"accuracy of {variant}, trained at T = 100, tested at T = {delay}", "value": value}
    | {"source": _grid.PAPER, "confidence": _grid.SEEN.format("a table")}
    for variant, values in _TABLE.items()
    for delay, value in zip(_DELAYS, values)
]
NOTES = [
    _grid.SAME_START,
    _grid.SHORT,
    "The learning rate is chosen at the delay of training; the tests at other delays choose "
    "nothing. They have the same symbols in the same order, only the wait is longer.",
    "At smaller scales than the paper's the delay of training is shorter, and the figure puts the "
    "published values at equal ratios of the two delays, which is no claim that they compare.",
]
_VARIANTS = _grid.variants("lstm", "h0.25", "h0.5")
SCALES = {
    "smoke": {
        "groups": {"T3": _grid.smoke_copy(delays=[3, 6])},
        "variants": _grid.variants("h0.5"),
        "learning_rates": [1e-2],
        "seeds": [0],
    },
    "desk": {
        "groups": {"T30": _grid.short_copy(30, delays=[30, 60, 120, 150, 300, 600])},
        "variants": _VARIANTS,
        "learning_rates": [3e-3, 1e-2, 3e-2],
        "seeds": [0, 1, 2, 3],
    },
    "paper": {
        "groups": {"T100": _grid.published_copy(100) | {"delays": list(_DELAYS)}},
        "variants": _VARIANTS,
        "learning_rates": [1e-3],
        "seeds": [0, 1, 2],
    },
}


def cells(settings):
    """One training, and the tests of its best epoch, for each variant, rate and seed."""
    return _grid.cells(settings, _train_and_transfer)


def _train_and_transfer(folder, console, *, delays, **options):
    from rnnzoo import checkpoints, tasks

    result = _grid.train(folder, console, **options)
    if "diverged" in result:
        return result
    task = tasks.get(
        "transfer_copy", **options["task_options"], delays=delays, seed=options["seed"]
    )
    model = checkpoints.load_model(folder / "best.keras")
    model.compile(loss=task.loss, metrics=task.metrics)
    scores = task.scores(model)
    return {**result, "transfer": {str(d): s["recall_accuracy"] for d, s in scores.items()}}


def summarize(settings, results):
    """What the trainings say, and at the best rate the accuracy at every delay."""
    summary = _grid.summarize(settings, results)
    for group, found in summary.items():
        for variant, one in found.items():
            rate = one["learning_rate"]
            if rate is not None:
                chosen = [
                    results[_grid.name(group, variant, rate, seed)]["transfer"]
                    for seed in settings["seeds"]
                ]
                each = {delay: [scores[delay] for scores in chosen] for delay in chosen[0]}
                mean = {delay: statistics.fmean(scores) for delay, scores in each.items()}
                one["transfer"] = {"mean": mean, "each": each}
    return summary


def draw(settings, summary):
    """The trainings, and the accuracy against the delay in units of the one of training."""
    figure = _experiment.new_figure(10.5, 4)
    curves, panel = figure.subplots(1, 2)
    for group, found in summary.items():
        _grid.draw_curves(curves, settings, found)
        delay = settings["groups"][group]["task_options"]["delay"]
        for variant, one in found.items():
            if "transfer" in one:
                color = _grid.color_of(settings, variant)
                ratios = [int(d) / delay for d in one["transfer"]["mean"]]
                words = _grid.label(settings, variant)
                for scores in zip(*one["transfer"]["each"].values()):
                    panel.plot(ratios, scores, color=color, linewidth=0.7, alpha=0.45)
                panel.plot(ratios, one["transfer"]["mean"].values(), "o-", color=color, label=words)
        panel.set(xlabel=f"delay / {delay}", ylabel="test recall accuracy", xscale="log")
    for variant in settings["variants"]:
        ratios = [delay / 100 for delay in _DELAYS]
        color = _grid.color_of(settings, variant)
        words = f"{_grid.label(settings, variant)}, published (T = 100)"
        panel.plot(ratios, _TABLE[variant], ":", color=color, label=words)
    panel.axhline(1 / 8, color="gray", linestyle="--", linewidth=0.8)
    lines = panel.get_legend_handles_labels()
    figure.legend(*lines, fontsize="x-small", loc="outside right upper")
    return figure


def table(settings, summary):
    """The rows of the trainings, and the accuracy at each delay."""
    lines = []
    for group, found in summary.items():
        delays = settings["groups"][group]["delays"]
        lines += ["| trained on " + group + " | " + " | ".join(map(str, delays)) + " |"]
        lines += ["|" + "---|" * (len(delays) + 1)]
        for variant, one in found.items():
            scores = one.get("transfer", {"mean": {}})["mean"].values()
            cells = " | ".join(f"{score:.1%}" for score in scores)
            lines.append(f"| {_grid.label(settings, variant)} | {cells} |")
        lines.append("")
    return "\n".join([*lines, _grid.table(settings, summary, PUBLISHED)])
