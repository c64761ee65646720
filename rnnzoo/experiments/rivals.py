r"""Recurrent and feed-forward layers on six tasks, at matched parameter counts.

LSTM, GRU, SimpleRNN, HDetachLSTM, StableLSTM and LRU against TCN and GatedConv. On each task all
have the same data, the same batches in the same order, the same number of optimizer steps, the same
optimizer and grid of learning rates, and the width whose parameter count comes nearest to the
task's. The best learning rate is that of the best validation score; the test score is that of its
best epoch. `rnnzoo.experiments._rivals_settings` has the sizes.
"""

import functools
import itertools
import math
import statistics

from rnnzoo.experiments import _experiment
from rnnzoo.experiments._rivals_settings import NOTES, PUBLISHED, SCALES, SCORES

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

LAYERS = (
    "lstm",
    "gru",
    "simple_rnn",
    "hdetach_lstm",
    "stable_lstm",
    "lru",
    "tcn",
    "gated_conv",
)


def cells(settings):
    """One training for each task, layer, learning rate and seed."""
    found = []
    for task, spec in settings["tasks"].items():
        rates = settings["learning_rates"]
        for run in _experiment.grid(layer=LAYERS, rate=rates, seed=settings["seeds"]):
            layer, rate, seed = run.values()
            known = {
                "task": task,
                "task_options": spec["task"],
                "layer": layer,
                "layer_options": spec["layers"].get(layer, {}),
                "depth": spec["depth"],
                "parameters": spec["parameters"],
                "epochs": spec["epochs"],
                "learning_rate": rate,
                "seed": seed,
            }
            name = f"{task}/{layer}/lr{rate:g}/seed{seed}"
            found.append(_experiment.Cell(name, known, functools.partial(_train, **known)))
    return found


def matched_units(task, layer, layer_options, depth, parameters):
    """The width whose model of the task has the count of parameters nearest to `parameters`.

    The count is a polynomial of degree two in the width, but for widths at which a layer needs no
    projection of its inputs; three widths tell it, and its root's neighbours are counted.

    >>> from rnnzoo import tasks
    >>> matched_units(tasks.get("copy", delay=2), "lstm", {}, 1, 4 * 21 * 22 + 9 * 21)
    20
    """
    import numpy as np

    count = functools.partial(_count, task, layer, layer_options, depth)
    widths = (16, 24, 32)
    a, b, c = np.polyfit(widths, [count(width) for width in widths], 2)
    # The root in the form that holds for a = 0 too, where only a bottleneck's ends are wider.
    root = 2 * (parameters - c) / (b + math.sqrt(max(0.0, b * b - 4 * a * (c - parameters))))
    return min(
        sorted({max(1, math.floor(root)), max(1, math.ceil(root))}),
        key=lambda width: abs(count(width) - parameters),
    )


def _count(task, layer, layer_options, depth, width):
    return task.build_model(_stack(layer, width, layer_options, depth)).count_params()


def _stack(layer, width, options, depth):
    from rnnzoo import zoo

    return [zoo.build(layer, width, **options) for _ in range(depth)]


def _train(folder, console, *, task, task_options, layer, layer_options, depth, parameters, **run):
    from rnnzoo import tasks

    built = tasks.get(task, **task_options, seed=run["seed"])
    units = matched_units(built, layer, layer_options, depth, parameters)
    result = _experiment.train(
        folder,
        console,
        task=task,
        task_options=task_options,
        layer=layer,
        layer_options=layer_options,
        depth=depth,
        units=units,
        **run,
    )
    one = _stack(layer, units, layer_options, 1)[0]
    reach = getattr(one, "receptive_field", None)
    return {
        **result,
        "units": units,
        "parameters": _count(built, layer, layer_options, depth, units),
        "batches": int(built.train.cardinality()),
        "receptive_field": None if reach is None else 1 + depth * (reach - 1),
        "baseline": dict(built.baseline),
    }


def summarize(settings, results):
    """For each task and layer the best learning rate, its test score and what it is beside."""
    summary = {}
    for task, layer in itertools.product(settings["tasks"], LAYERS):
        runs = {n: r for n, r in results.items() if n.startswith(f"{task}/{layer}/")}
        wanted = len(settings["learning_rates"]) * len(settings["seeds"])
        if len(runs) == wanted:
            entry = summary.setdefault(task, {"layers": {}})
            any_run = next(iter(runs.values()))
            metric = SCORES[task]["metric"]
            entry["metric"] = metric
            entry["baseline"] = any_run["baseline"][metric]
            entry["differs_from_published"] = settings["tasks"][task]["differs"]
            entry["layers"][layer] = _layer_summary(settings, task, layer, runs)
    return summary


def _layer_summary(settings, task, layer, runs):
    by_rate = {
        rate: [runs[f"{task}/{layer}/lr{rate:g}/seed{seed}"] for seed in settings["seeds"]]
        for rate in settings["learning_rates"]
    }
    mode, metric = SCORES[task]["mode"], SCORES[task]["metric"]
    first, target = next(iter(runs.values())), settings["tasks"][task]["parameters"]
    found = {
        "units": first["units"],
        "parameters": first["parameters"],
        "deviation": round(first["parameters"] / target - 1.0, 4),
        "receptive_field": first["receptive_field"],
        "diverged": [
            rate for rate, group in by_rate.items() if any("diverged" in r for r in group)
        ],
        "published": SCORES[task]["published"].get(layer),
    }
    rate = _experiment.best(by_rate, functools.partial(_choice, mode=mode), mode)
    if rate is None:
        return {**found, "score": None}
    group = by_rate[rate]
    scores = [run["test"][metric] for run in group]
    name = group[0]["monitor"]
    return {
        **found,
        "score": statistics.fmean(scores),
        "scores": scores,
        "tests": [run["test"] for run in group],
        "learning_rate": rate,
        "validation": {f"{r:g}": _mean_validation(g) for r, g in by_rate.items()},
        "best_epochs": [run["best"]["epoch"] for run in group],
        "monitor": name,
        "batches": first["batches"],
        "curve": [run["curve"][name] for run in group],
    }


def _mean_validation(group):
    """The mean over seeds of the best validation score; None if a training diverged."""
    if any("diverged" in run for run in group):
        return None
    return statistics.fmean(run["best"][run["monitor"]] for run in group)


def _choice(group, mode):
    """What a learning rate is chosen by: of equal scores (an accuracy of 1) the loss decides."""
    score = _mean_validation(group)
    if score is None:
        return None
    loss = statistics.fmean(run["curve"]["val_loss"][run["best"]["epoch"] - 1] for run in group)
    return score, -loss if mode == "max" else loss


def draw(settings, summary):
    """The validation score against optimizer steps, of each layer at its best learning rate."""
    del settings
    columns = min(3, max(1, len(summary)))
    rows = max(1, math.ceil(len(summary) / columns))
    figure = _experiment.new_figure(4.6 * columns, 3.6 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (task, entry) in zip(axes, summary.items()):
        for number, layer in enumerate(LAYERS):
            found = entry["layers"].get(layer)
            if found is None or found["score"] is None:
                continue
            curve = [statistics.fmean(values) for values in zip(*found["curve"])]
            steps = [(epoch + 1) * found["batches"] for epoch in range(len(curve))]
            style = "--" if found["receptive_field"] else "-"
            panel.plot(steps, curve, style, marker=".", color=f"C{number}", label=layer)
            panel.set_ylabel(found["monitor"].replace("val_", "validation ").replace("_", " "))
        panel.set(title=task, xlabel="training batches")
        panel.set_xlim(left=0)
        if SCORES[task]["mode"] == "min":  # of an overfit, as much as is better than no memory
            panel.set_ylim(top=1.05 * entry["baseline"])
    for panel in axes[len(summary) :]:
        panel.set_axis_off()
    if axes[0].lines:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def table(settings, summary):
    """The scores as Markdown: a row for each task and layer."""
    ends = min(settings["learning_rates"]), max(settings["learning_rates"])
    lines = [
        "| task | layer | units | parameters | from the target | learning rate | test score | "
        "published | other test scores |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task, entry in summary.items():
        for layer, found in entry["layers"].items():
            score = "diverged" if found["score"] is None else f"{found['score']:.4g}"
            rate = "–" if found["score"] is None else f"{found['learning_rate']:g}"
            rate += " †" if found.get("learning_rate") in ends else ""
            published = "–" if found["published"] is None else f"{found['published']:g}"
            if published != "–" and entry["differs_from_published"]:
                published += " *"
            lines.append(
                f"| {task} ({entry['metric']}) | {layer} | {found['units']} | "
                f"{found['parameters']:,} | {found['deviation']:+.1%} | {rate} | {score} | "
                f"{published} | {_others(found, entry['metric'])} |"
            )
        lines.append(
            f"| {task} | without memory | – | – | – | – | {entry['baseline']:.4g} | – | – |"
        )
    lines += [
        "",
        "Published: Bai, Kolter & Koltun (arXiv:1803.01271), Table 1, read in the paper.",
        "",
        "† The end of the grid of learning rates: a further one might score better.",
        "",
    ]
    for task, entry in summary.items():
        if entry["differs_from_published"]:
            lines.append(
                f"\\* {task} is another setting than there: {entry['differs_from_published']}"
            )
            lines.append("")
    return "\n".join(lines)


def _others(found, metric):
    tests = found.get("tests", [{}])
    means = {name: statistics.fmean(test[name] for test in tests) for name in tests[0]}
    return ", ".join(f"{n} {value:.4g}" for n, value in means.items() if n != metric) or "–"
