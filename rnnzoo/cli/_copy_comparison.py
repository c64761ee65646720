"""HDetachLSTM and LSTM on the copying task, side by side: what `rnnzoo demo` and `make run` do."""

import dataclasses
import pathlib
import statistics

import numpy as np
import rich.console
import rich.table
import tensorflow as tf

import rnnzoo.export
from rnnzoo import _checks, _machine, checkpoints, tasks, training
from rnnzoo._figures import new_figure
from rnnzoo.training import _record

LAYERS = ("hdetach_lstm", "lstm")
# Of the largest logit. A trained LSTM amplifies float32 rounding: at the full size (logits to 24)
# ours, Keras's and the served one are 4e-5 to 9e-5 from float64, and as far from each other.
TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Scale:
    """The size of the comparison, the same for both layers."""

    delay: int
    units: int
    epochs: int
    train_size: int
    held_out: int
    learning_rate: float

    def task_options(self):
        """The copying task with one input a symbol, which both layers learn sooner."""
        sizes = {"validation_size": self.held_out, "test_size": self.held_out}
        return {"delay": self.delay, "one_hot": True, "train_size": self.train_size, **sizes}


FULL = Scale(delay=15, units=128, epochs=25, train_size=20_000, held_out=1_000, learning_rate=5e-3)
QUICK = Scale(delay=3, units=8, epochs=2, train_size=400, held_out=100, learning_rate=1e-2)


def run(out_dir, seed=0, quick=False, console=None):
    r"""Train both layers on the same data with the same budget, and serve the first.

    $$\text{HDetachLSTM}(p = 0.25)\quad\text{against}\quad\text{LSTM}$$

    Both get the same batches in the same order, the same optimizer and as many epochs; the best
    epoch of each is scored on the test set. Then the HDetachLSTM is saved, loaded again and
    exported as a SavedModel, and all three give the predictions that are compared.

    Args:
        out_dir: folder for the two runs, ``comparison.json``, ``comparison.png``, ``model.keras``
            and ``export/<version>``. Called again, it goes on where it was stopped.
        seed: of data, weights and draws, from 0 on.
        quick: a few seconds at a size too small to learn anything; for trying the command.
        console: a `rich.console.Console`; by default standard output.

    Returns:
        What ``comparison.json`` holds, as a dict.

    Raises:
        ValueError: for an argument out of range, or an `out_dir` with another run in it.
        ArithmeticError: the reloaded or the exported model predicts something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = run(folder, quick=True, console=rich.console.Console(quiet=True))
    >>> sorted(result["layers"]), result["reload_difference"]
    (['hdetach_lstm', 'lstm'], 0.0)
    """
    scale = QUICK if _checks.boolean("quick", quick) else FULL
    console = console or rich.console.Console()
    out_dir = pathlib.Path(out_dir)
    task = tasks.get("copy", **scale.task_options(), seed=seed)
    console.print(
        f"Copying task: ten symbols recalled after {scale.delay} steps; {scale.units} units, "
        f"{scale.epochs} epochs of {scale.train_size:,} sequences each."
    )
    records = {name: _train(name, scale, seed, out_dir / name, console) for name in LAYERS}
    console.print(_table(records, task.baseline))
    _draw(records, task, out_dir / "comparison.png")
    comparison = {
        "scale": dataclasses.asdict(scale),
        "seed": seed,
        "baseline": task.baseline,
        "layers": {name: _summary(record) for name, record in records.items()},
        "wall_time_s": round(sum(record["wall_time_s"] for record in records.values()), 3),
        "versions": _machine.versions(),
        "hardware": _machine.hardware(),
        **_serve(out_dir, task, console),
    }
    _record.write_json(out_dir / "comparison.json", comparison)
    console.print(f"Figure: {out_dir / 'comparison.png'}", soft_wrap=True)
    return comparison


def _train(name, scale, seed, folder, console):
    return training.train(
        "copy",
        name,
        out_dir=folder,
        epochs=scale.epochs,
        units=scale.units,
        seed=seed,
        learning_rate=scale.learning_rate,
        task_options=scale.task_options(),
        console=console,
    )


def _summary(record):
    return {
        "test": record["test"],
        "best_epoch": record["best"]["epoch"],
        "seconds_per_epoch": round(statistics.median(record["epoch_seconds"]), 3),
        "parameters": record["parameters"],
    }


def _table(records, baseline):
    table = rich.table.Table("model", title="Test set, best epoch of each")
    for heading in ("recall accuracy", "loss", "best epoch", "s per epoch"):
        table.add_column(heading, justify="right")
    for name, record in records.items():
        summary = _summary(record)
        table.add_row(
            name,
            *_scores(summary["test"]),
            str(summary["best_epoch"]),
            f"{summary['seconds_per_epoch']:.1f}",
        )
    table.add_row("without memory", *_scores(baseline), "", "", style="dim")
    return table


def _scores(scores):
    return f"{scores['recall_accuracy']:.2%}", f"{scores['loss']:.4f}"


def _serve(out_dir, task, console):
    """Save, load, export; the largest difference between their predictions and the model's."""
    model = checkpoints.load_model(out_dir / LAYERS[0] / "best.keras")
    saved = checkpoints.save_model(model, out_dir / "model.keras")
    exported = rnnzoo.export.export_model(model, out_dir / "export")
    x = task.arrays("test")[0][:100]
    expected = model.predict(x, verbose=0)
    served = tf.saved_model.load(str(exported)).signatures["serving_default"]
    lengths = tf.fill([len(x)], x.shape[1])
    found = {
        "reload_difference": checkpoints.load_model(saved).predict(x, verbose=0),
        "export_difference": served(x=tf.constant(x), lengths=lengths)["outputs"].numpy(),
    }
    differences = {name: float(np.abs(y - expected).max()) for name, y in found.items()}
    largest = float(np.abs(expected).max())
    for name, difference in differences.items():
        if not difference <= TOLERANCE * largest:
            raise ArithmeticError(
                f"Predictions differ by more than rounding: {name}={difference:g}, where the "
                f"largest logit is {largest:g}."
            )
    console.print(
        f"Saved to {saved} and loaded again: predictions differ by at most "
        f"{differences['reload_difference']:.1e}.\nExported to {exported}: predictions differ by "
        f"at most {differences['export_difference']:.1e} (largest logit: {largest:.1f}).",
        soft_wrap=True,
    )
    return {
        **differences,
        "largest_logit": largest,
        "model": saved.name,
        "export": exported.relative_to(out_dir).as_posix(),
    }


def _draw(records, task, path):
    figure = new_figure(9, 3.5)
    for axes, metric in zip(figure.subplots(1, 2), ("recall_accuracy", "loss")):
        for name, record in records.items():
            values = record["curve"][f"val_{metric}"]
            axes.plot(range(1, len(values) + 1), values, marker=".", label=name)
        axes.axhline(task.baseline[metric], color="gray", linestyle="--", label="without memory")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="epoch", ylabel=f"validation {metric.replace('_', ' ')}")
    axes.legend()
    figure.suptitle(f"Copying task, delay {task.delay}")
    figure.savefig(path, dpi=120)
