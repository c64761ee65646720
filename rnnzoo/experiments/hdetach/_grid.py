"""What the experiments on h-detach share: the trainings of a grid, their summary, figure and table.

The settings of such an experiment at one scale are

    groups           dict: name -> options of `training.train` for all trainings of the group
    variants         dict: name -> options of the layer; p = 0 is the plain LSTM
    learning_rates, seeds     the same grid for every variant

All variants of a group and seed begin with the same weights and see the same batches in the same
order. The learning rate of a variant is the one with the best validation score, the mean over seeds
of each training's best epoch; the test score is that of the best epoch.
"""

import functools
import itertools
import statistics

from rnnzoo.experiments import _experiment

THRESHOLDS = (0.8, 0.99)
PAPER = "Arpit et al., h-detach (arXiv:1810.03023)"
SEEN = "seen in {} of an early version"
REPORT = "seen in the reproduction report"
SAME_START = (
    "Best of one grid of learning rates on validation, Adam with the gradient's norm clipped to 1 "
    "where nothing else is said; of each training the best epoch is tested. The plain LSTM is "
    "HDetachLSTM with p = 0: the same weights at the start, batches and number of updates."
)

SHORT = (
    "At desk scale two symbols are recalled instead of ten, because ten were far from learned in "
    "first trials of a few thousand updates even at a delay of 10; the delay, which is what "
    "matters here, can so be longer. One input a symbol, 32 units, batches of 32, 12,800 training "
    "sequences, Keras's initial weights."
)


def variants(*names):
    """Layers by short names: "lstm", "h0.25" (h-detach with p = 0.25), "c0.25" (c-detach).

    >>> from rnnzoo.experiments.hdetach._grid import variants
    >>> variants("lstm", "c0.5")
    {'lstm': {'p': 0.0, 'detach': 'h'}, 'c0.5': {'p': 0.5, 'detach': 'c'}}
    """
    return {
        name: {"p": 0.0, "detach": "h"}
        if name == "lstm"
        else {"p": float(name[1:]), "detach": name[0]}
        for name in names
    }


def published_weights(units):
    """Layer options: the initial weights of the published code, without a bias for remembering."""
    bound = units**-0.5
    uniform = {"class_name": "RandomUniform", "config": {"minval": -bound, "maxval": bound}}
    weights = ("kernel", "recurrent", "bias")
    return {"unit_forget_bias": False, **{f"{name}_initializer": uniform for name in weights}}


def published_copy(delay):
    """A group: the copying task as published."""
    return {
        "task": "copy",
        "task_options": {"delay": delay},
        "units": 128,
        "epochs": 600,
        "layer_options": published_weights(128),
    }


def published_digits(task, **options):
    """A group: a digit pixel by pixel as published; the permutation's seed is the task's own."""
    return {
        "task": task,
        "task_options": {},
        "units": 100,
        "epochs": 200,
        "layer_options": published_weights(100),
        **options,
    }


def short_copy(delay, epochs=10, **options):
    """A group: the copying task with two symbols to recall, an epoch in seconds."""
    sizes = {"train_size": 12_800, "validation_size": 500, "test_size": 1_000, "batch_size": 32}
    task = {"delay": delay, "recalled": 2, "one_hot": True, **sizes}
    return {"task": "copy", "task_options": task, "units": 32, "epochs": epochs, **options}


def smoke_copy(**options):
    """A group: a training that ends in seconds and learns nothing."""
    sizes = {"train_size": 40, "validation_size": 20, "test_size": 20, "batch_size": 20}
    task = {"delay": 3, "one_hot": True, **sizes}
    return {"task": "copy", "task_options": task, "units": 4, "epochs": 2, **options}


def smoke_digits(task):
    """A group: four pixels an image, ten updates."""
    options = {"downsample": 14, "batch_size": 5_000}
    return {"task": task, "task_options": options, "units": 4, "epochs": 1}


def cells(settings, work=None):
    """One training for each group, variant, learning rate and seed."""
    found = []
    for run in _runs(settings):
        group = settings["groups"][run["group"]]
        options = {**group.get("layer_options", {}), **settings["variants"][run["variant"]]}
        known = {**group, "layer": "hdetach_lstm", "layer_options": options}
        known |= {"learning_rate": run["rate"], "seed": run["seed"]}
        found.append(
            _experiment.Cell(name(**run), known, functools.partial(work or train, **known))
        )
    return found


def _runs(settings):
    axes = {"group": "groups", "rate": "learning_rates", "seed": "seeds", "variant": "variants"}
    return _experiment.grid(**{axis: settings[key] for axis, key in axes.items()})


def name(group, variant, rate, seed):
    return f"{group}/{variant}/lr{rate:g}/seed{seed}"


def train(folder, console, **options):
    """One training; the result also has the number of updates in an epoch."""
    from rnnzoo import tasks

    task = tasks.get(options["task"], **options["task_options"])
    result = _experiment.train(folder, console, **options)
    return {**result, "batches": -(-task.size("train") // task.batch_size)}


def summarize(settings, results):
    """For each group and variant, if all its trainings are finished, the best learning rate."""
    summary = {}
    for group, variant in itertools.product(settings["groups"], settings["variants"]):
        runs = {
            rate: [results.get(name(group, variant, rate, seed)) for seed in settings["seeds"]]
            for rate in settings["learning_rates"]
        }
        if not any(None in of_rate for of_rate in runs.values()):
            summary.setdefault(group, {})[variant] = _summary(runs)
    return summary


def _summary(runs):
    rates = {f"{rate:g}": _of_rate(group) for rate, group in runs.items()}
    rate = _experiment.best(rates, lambda found: found["validation"], "max")
    if rate is None:
        return {"learning_rate": None, "rates": rates}
    group = next(group for value, group in runs.items() if f"{value:g}" == rate)
    monitor = group[0]["monitor"]
    metric = monitor.removeprefix("val_")
    scores = [run["test"][metric] for run in group]
    return {
        "learning_rate": float(rate),
        "metric": metric,
        "baseline": group[0]["baseline"][metric],
        "parameters": group[0]["parameters"],
        "batches": group[0]["batches"],
        "score": statistics.fmean(scores),
        "scores": scores,
        **{key: rates[rate][key] for key in ("epochs_to", "largest_drop")},
        "curve": [run["curve"][monitor] for run in group],
        "rates": rates,
    }


def _of_rate(group):
    """Of the trainings with one rate: best validation score, epochs to thresholds, steadiness."""
    finished = [run for run in group if "diverged" not in run]
    curves = [run["curve"][run["monitor"]] for run in finished]
    best = [max(curve) for curve in curves]
    return {
        "validation": statistics.fmean(best) if len(best) == len(group) else None,
        "best_of_each": best,
        "diverged": len(group) - len(finished),
        "epochs_to": {
            f"{share:g}": [first_epoch(curve, share) for curve in curves] for share in THRESHOLDS
        },
        "largest_drop": [largest_drop(curve) for curve in curves],
    }


def first_epoch(curve, threshold):
    """The first epoch, counted from 1, that is at least there; None if none is.

    >>> from rnnzoo.experiments.hdetach._grid import first_epoch
    >>> first_epoch([0.1, 0.8, 0.7], 0.8)
    2
    """
    return next((epoch for epoch, value in enumerate(curve, 1) if value >= threshold), None)


def largest_drop(curve):
    """How far the score ever falls below the best one before it: 0 for a curve that only rises.

    >>> from rnnzoo.experiments.hdetach._grid import largest_drop
    >>> largest_drop([0.25, 0.75, 0.5, 0.875])
    0.25
    """
    return max(best - value for best, value in zip(itertools.accumulate(curve, max), curve))


def label(settings, variant):
    """What figure and table call a variant."""
    options = settings["variants"][variant]
    return f"{options['detach']}-detach, p = {options['p']:g}" if options["p"] else "LSTM"


def draw(settings, summary):
    """Validation score against epochs: the mean over seeds at the best rate, and each seed."""
    figure, panels = panels_for(summary)
    for panel, (group, found) in zip(panels, summary.items()):
        draw_curves(panel, settings, found)
        panel.set_title(group)
    if panels[0].lines:
        panels[0].legend(fontsize="small")
    return figure


def panels_for(summary):
    """A figure with a panel for each group."""
    columns = max(1, len(summary))
    figure = _experiment.new_figure(4.6 * columns + 0.6, 3.8)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def draw_curves(panel, settings, found):
    """The curves of the variants of one group, and the score of guessing."""
    scored = {name: one for name, one in found.items() if one["learning_rate"] is not None}
    for variant, one in scored.items():
        color = color_of(settings, variant)
        epochs = range(1, len(one["curve"][0]) + 1)
        for curve in one["curve"]:
            panel.plot(epochs, curve, color=color, linewidth=0.7, alpha=0.45)
        mean = [statistics.fmean(values) for values in zip(*one["curve"])]
        words = f"{label(settings, variant)} (rate {one['learning_rate']:g})"
        panel.plot(epochs, mean, color=color, linewidth=2, label=words)
    if scored:
        one = next(iter(scored.values()))
        panel.axhline(one["baseline"], color="gray", linestyle="--", linewidth=0.8)
        panel.set(
            xlabel=f"epoch ({one['batches']} updates)",
            ylabel=f"validation {one['metric'].replace('_', ' ')}",
            ylim=(None, 1.02),
        )


def color_of(settings, variant):
    return f"C{list(settings['variants']).index(variant)}"


def table(settings, summary, published):
    """Markdown: a row for each group and variant, and below it the published values."""
    lines = [
        "| group | layer | learning rate | test score, mean (each seed) | guessing | "
        "epochs to 80 % | to 99 % | largest drop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group, found in summary.items():
        for variant, one in found.items():
            lines.append(f"| {group} | {label(settings, variant)} | {_row(one)} |")
    lines += ["", "Epochs, drops: of each seed, on the validation set; –: never.", ""]
    lines += ["Published, at the published size:", ""]
    lines += [f"- {p['what']}: {p['value']} ({p['source']}; {p['confidence']})" for p in published]
    return "\n".join([*lines, ""])


def _row(one):
    if one["learning_rate"] is None:
        return "all diverged | – | – | – | – | –"
    each = ", ".join(f"{score:.1%}" for score in one["scores"])
    reached = [
        ", ".join("–" if epoch is None else str(epoch) for epoch in one["epochs_to"][f"{share:g}"])
        for share in THRESHOLDS
    ]
    drops = ", ".join(f"{drop:.1%}" for drop in one["largest_drop"])
    return (
        f"{one['learning_rate']:g} | {one['score']:.1%} ({each}) | {one['baseline']:.1%} | "
        f"{' | '.join(reached)} | {drops}"
    )
