"""One training run from names and options: what `rnnzoo train` does, for scripts too."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import rich.console

from rnnzoo import _checks
from rnnzoo import tasks as zoo_tasks
from rnnzoo.training import TruncatedBPTT, _build, _record, _workers
from rnnzoo.training._run_folder import METRICS
from rnnzoo.training.curves import plot_curves
from rnnzoo.training.progress import ProgressBar
from rnnzoo.training.resumable import evaluate_best, fit_resumable, meet


def train(
    task: str,
    layer: str | None = None,
    *,
    out_dir: str | os.PathLike,
    epochs: int,
    units: int | None = None,
    depth: int = 1,
    layers: Sequence[dict[str, Any]] | None = None,
    seed: int = 0,
    optimizer: dict[str, Any] | None = None,
    learning_rate: float | None = None,
    schedule: str = "constant",
    schedule_options: dict[str, Any] | None = None,
    k1: int | None = None,
    k2: int | None = None,
    task_options: dict[str, Any] | None = None,
    layer_options: dict[str, Any] | None = None,
    model_options: dict[str, Any] | None = None,
    bidirectional: bool = False,
    clip: bool | float = True,
    average: float | None = None,
    patience: int | None = None,
    detach_epochs: int | None = None,
    limit: int | None = None,
    reference: float | None = None,
    recipe: str | None = None,
    command: str | None = None,
    console: rich.console.Console | None = None,
) -> dict[str, Any]:
    """Train layers of the zoo on a task, resumably, and score the best epoch on the test set.

    With TensorFlow's `TF_CONFIG` in the environment this process is one of several workers that
    train as one, each on its rows of every batch; the chief (or worker 0) writes and scores.

    Args:
        task: a name, see ``rnnzoo tasks``.
        layer: a name, see ``rnnzoo layers``; None (default): the task's published one.
        out_dir, epochs: see `rnnzoo.training.fit_resumable`.
        units: the layer's size; None: the task's published one.
        depth: how many such layers are stacked, at least 1.
        layers: instead of `layer`, `units`, `depth` and `layer_options`, a stack of different
            layers, from the first on: ``[{"layer": "lru", "units": 64, "r_min": 0.9}, ...]``.
        seed: of the data, the weights and every draw, from 0 on.
        optimizer: dict with a `name` ("adam", "grouped_adamw", "rmsprop" or "sgd") and options of
            that optimizer; None: the task's published one.
        learning_rate: a positive number; None: that of the optimizer.
        schedule: how the learning rate changes: "constant" (default); "cosine": half a cosine down
            to almost 0 over the `epochs` given, which then are settings of the run and cannot be
            raised afterwards; "plateau": divided by 4 after each epoch whose validation loss was
            not the best so far; "inverse": divided by the number of the optimizer step. See
            `rnnzoo.training.schedules`.
        schedule_options: dict, for example ``{"warmup": 0.1}`` or ``{"factor": 10}``.
        k1, k2: strides and reach of truncated BPTT; None: gradients through the whole sequence. A
            task on one long text always takes truncated BPTT, which carries the state from batch
            to batch; there None is the task's own stride.
        task_options, layer_options: dicts.
        model_options: dict of what the task's `build_model` takes beside the layer.
        bidirectional: True: each layer is `units` wide in both directions, outputs concatenated.
        clip: a positive number clips the gradient's global norm to it; True (default): as the
            task's published optimizer does; False: no clipping.
        average, patience: see `rnnzoo.training.fit_resumable`.
        detach_epochs: after so many epochs `p` of every `HDetachLSTM` is 0; None: never.
        limit: the run sees the first so many sequences of each split (of a text: tokens), for a
            quick look; None (default): all of them.
        reference: a published score of the monitored metric, to be drawn beside the curve and kept
            in the record.
        recipe: the name of the recipe that the options come from, for the record.
        command: what the record gives as the command.
        console: a `rich.console.Console` for the progress.

    Returns:
        The record of ``metrics.json``, with the test scores under "test" (of a worker that is not
        the chief, without them).
    """
    reference = None if reference is None else _checks.real("reference", reference)
    strategy = _workers.strategy()  # before anything is computed
    built = _task(task, task_options, seed, limit)
    specified = _build.specify(built, layer, units, depth, layer_options, layers)
    k1 = built.default_k1 if k1 is None else k1
    with _workers.scope(strategy):
        keras.utils.set_random_seed(built.seed)
        stack = _build.build_layers(specified, bidirectional)
        model = _build.build_model(built, stack, dict(model_options or {}))
        model = _strided(model, built, k1, k2)
        chosen = _build.build_optimizer(built, optimizer, learning_rate, clip)
        changing = _build.build_schedule(built, chosen, schedule, epochs, schedule_options)
        model.compile(chosen, built.loss, metrics=built.metrics)
    settings = {
        **(specified[0] if layers is None else {"layers": specified}),
        **{"k1": k1, "k2": k2, "seed": seed},
        **_told(
            model=dict(model_options or {}),
            depth=depth if depth > 1 else None,
            bidirectional=bidirectional,
            workers=strategy.num_replicas_in_sync if strategy else None,
            schedule=changing[0].settings() if changing else None,
            detach_epochs=detach_epochs,
            limit=limit,
        ),
    }
    named = " ".join(dict.fromkeys(spec["layer"] for spec in specified))
    bar = ProgressBar(int(built.train.cardinality()), f"{task} {named}", console)
    callbacks = [*changing, *_build.build_annealing(detach_epochs, epochs), bar]
    run = {"callbacks": callbacks, "command": command, "average": average, "patience": patience}
    try:
        record = fit_resumable(model, built, epochs, out_dir, settings=settings, **run)
    finally:
        bar.close()
    if strategy is None or strategy.extended.should_checkpoint:
        record = _score(record, built, out_dir, {"reference": reference, "recipe": recipe})
    meet(model, record["epochs"])  # a worker that is gone stops the others
    return record


def _task(name, options, seed, limit):
    options = dict(options or {})
    if "seed" in options:
        raise ValueError(
            "`seed` must be given to the run, not to the task. "
            f"Received: seed={options['seed']!r} among the task's options"
        )
    task = zoo_tasks.get(name, **options, seed=_checks.integer("seed", seed, 0))
    if limit is not None:
        task.keep(limit)
    return task


def _strided(model, task, k1, k2):
    """The model, or where there are strides what trains it by truncated BPTT."""
    if k1 is None and k2 is None:
        return model
    if k1 is None:
        raise ValueError(f"`k2` must come with `k1`. Received: k1=None, k2={k2}")
    return TruncatedBPTT(model, k1, k2, stateful=task.stream)


def _told(**settings):
    """The settings that are told; the others are as in the runs from before they could be."""
    return {name: value for name, value in settings.items() if value not in (None, False, {})}


def _score(record, task, out_dir, told):
    """Score the best epoch, and write the record with that and with what was told of the run."""
    record = {**record, "test": evaluate_best(task, out_dir)}
    told = {name: value for name, value in told.items() if value is not None}
    if told:
        record |= told
        _record.write_json(pathlib.Path(out_dir) / METRICS, record)
    plot_curves(record, pathlib.Path(out_dir) / "curve.png")
    return record
