"""One training run from names and options: what `rnnzoo train` does, for scripts too."""

from __future__ import annotations

import inspect
import os
import pathlib
from typing import Any

import keras
import rich.console

from rnnzoo import _checks, zoo
from rnnzoo import tasks as zoo_tasks
from rnnzoo.training import TruncatedBPTT, _record, _workers, schedules
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
    seed: int = 0,
    learning_rate: float | None = None,
    schedule: str = "constant",
    schedule_options: dict[str, Any] | None = None,
    k1: int | None = None,
    k2: int | None = None,
    task_options: dict[str, Any] | None = None,
    layer_options: dict[str, Any] | None = None,
    model_options: dict[str, Any] | None = None,
    bidirectional: bool = False,
    clip: bool = True,
    reference: float | None = None,
    command: str | None = None,
    console: rich.console.Console | None = None,
) -> dict[str, Any]:
    """Train a layer of the zoo on a task, resumably, and score its best epoch on the test set.

    With TensorFlow's `TF_CONFIG` in the environment this process is one of several workers that
    train as one, each on its rows of every batch; the chief (or worker 0) writes and scores.

    Args:
        task: a name, see ``rnnzoo tasks``.
        layer: a name, see ``rnnzoo layers``; None (default): the task's published one.
        out_dir, epochs: see `rnnzoo.training.fit_resumable`.
        units: the layer's size; None: the task's published one.
        depth: how many such layers are stacked, at least 1.
        seed: of the data, the weights and every draw, from 0 on.
        learning_rate: a positive number; None: that of the task's published optimizer.
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
        clip: False: without the task's clipping of the gradient's norm.
        reference: a published score of the monitored metric, to be drawn beside the curve and kept
            in the record.
        command: what the record gives as the command.
        console: a `rich.console.Console` for the progress.

    Returns:
        The record of ``metrics.json``, with the test scores under "test" (of a worker that is not
        the chief, without them).
    """
    task_options, layer_options = dict(task_options or {}), dict(layer_options or {})
    if "seed" in task_options:
        raise ValueError(
            "`seed` must be given to the run, not to the task. "
            f"Received: seed={task_options['seed']!r} among the task's options"
        )
    reference = None if reference is None else _checks.real("reference", reference)
    strategy = _workers.strategy()  # before anything is computed
    built = zoo_tasks.get(task, **task_options, seed=_checks.integer("seed", seed, 0))
    layer = built.default_layer if layer is None else layer
    units = built.default_units if units is None else units
    k1 = built.default_k1 if k1 is None else k1
    with _workers.scope(strategy):
        keras.utils.set_random_seed(built.seed)
        count = _checks.integer("depth", depth)
        stack = [zoo.build(layer, units, **layer_options) for _ in range(count)]
        if _checks.boolean("bidirectional", bidirectional):
            stack = [keras.layers.Bidirectional(one) for one in stack]
        model = _model(built, stack, dict(model_options or {}))
        if k1 is not None or k2 is not None:
            if k1 is None:
                raise ValueError(f"`k2` must come with `k1`. Received: k1=None, k2={k2}")
            model = TruncatedBPTT(model, k1, k2, stateful=built.stream)
        optimizer = _optimizer(built, learning_rate, clip)
        changing = _schedule(built, optimizer, schedule, epochs, schedule_options)
        model.compile(optimizer, built.loss, metrics=built.metrics)
    settings = {"layer": layer, "units": units, **layer_options, "k1": k1, "k2": k2, "seed": seed}
    settings |= {"model": dict(model_options)} if model_options else {}
    settings |= {"depth": depth} if depth > 1 else {}
    settings |= {"bidirectional": True} if bidirectional else {}
    settings |= {"workers": strategy.num_replicas_in_sync} if strategy else {}
    settings |= {"schedule": changing[0].settings()} if changing else {}
    bar = ProgressBar(int(built.train.cardinality()), f"{task} {layer}", console)
    try:
        record = fit_resumable(
            model,
            built,
            epochs,
            out_dir,
            settings=settings,
            callbacks=[*changing, bar],
            command=command,
        )
    finally:
        bar.close()
    if strategy is None or strategy.extended.should_checkpoint:
        record = {**record, "test": evaluate_best(built, out_dir)}
        if reference is not None:
            record["reference"] = reference
            _record.write_json(pathlib.Path(out_dir) / METRICS, record)
        plot_curves(record, pathlib.Path(out_dir) / "curve.png")
    meet(model, record["epochs"])  # a worker that is gone stops the others
    return record


def _model(task, layer, options):
    known = [name for name in inspect.signature(task.build_model).parameters if name != "layer"]
    for name in options:
        if name not in known:
            raise ValueError(
                f"`{name}` must be an option of the model of the task {task.name}: one of "
                f"{', '.join(known) or '(it has none)'}. Received: {name}={options[name]!r}"
            )
    return task.build_model(layer, **options)


def _schedule(task, optimizer, name, epochs, options):
    """The schedule as a list of callbacks, empty where the learning rate stays."""
    rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    batches = int(task.train.cardinality())
    made = schedules.make(name, rate, _checks.integer("epochs", epochs), batches, options)
    if made is None:
        return []
    made.attach(optimizer)
    return [made]


def _optimizer(task, learning_rate, clip):
    optimizer = task.optimizer()
    if not _checks.boolean("clip", clip):
        optimizer.global_clipnorm = None
    if learning_rate is not None:
        optimizer.learning_rate = _checks.real("learning_rate", learning_rate, 0.0, low_open=True)
    return optimizer
