"""Training that can be stopped at any moment and ends as if it had not been."""

from __future__ import annotations

import json
import math
import os
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from rnnzoo import _checks, _keras, checkpoints
from rnnzoo.training import _record, _replicas
from rnnzoo.training._averages import Averages
from rnnzoo.training._run_folder import BEST, METRICS, RunFolder
from rnnzoo.training.schedules import Schedule

if TYPE_CHECKING:
    from rnnzoo.tasks._task import Task


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or not a number; the message names the step."""


def fit_resumable(
    model: keras.Model,
    task: Task,
    epochs: int,
    out_dir: str | os.PathLike,
    *,
    settings: dict[str, Any] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    command: str | None = None,
    average: float | None = None,
    patience: int | None = None,
) -> dict[str, Any]:
    """Train a compiled model on a task, epoch by epoch, and resume where an earlier call stopped.

    After every epoch all that the next one depends on is written to ``out_dir/state.npz``: the
    model's variables and its seed generators, the optimizer's variables, the number of the epoch
    (which decides the shuffle) and the curve. Called again with the same `out_dir` and settings, it
    goes on after the last finished epoch; weights, optimizer and curve end bit for bit as those of
    a run that was never stopped. An interruption inside an epoch costs that epoch only.

    Args:
        model: a built and compiled `keras.Model`.
        task: a task of `rnnzoo.tasks`. ``task.epoch`` is set before each epoch;
            ``task.monitor`` and ``task.monitor_mode`` choose the best epoch; of equal ones (an
            accuracy of 1) the least validation loss does.
        epochs: total number of epochs, at least 1. More than an earlier call's goes on further;
            it is the one setting that may differ.
        out_dir: folder for ``state.npz``, ``best.keras``, ``metrics.json`` and ``logs``
            (TensorBoard scalars, one point an epoch).
        settings: dict of plain values that the run is to be known by, beside the configurations of
            task, model and optimizer, which are always compared.
        callbacks: Keras callbacks. Their decisions must follow from the epoch and its logs: what
            they remember between epochs is not kept. `EarlyStopping` and `ReduceLROnPlateau`
            remember, and are refused; a `rnnzoo.training.schedules.Schedule` is given the curve.
            What a schedule is belongs into `settings`.
        command: what `metrics.json` gives as the command; by default this process's.
        average: the decay of an exponential moving average of the trainable weights, in [0, 1), or
            None (default). Validation, and so the best epoch, take the averages, and ``best.keras``
            holds them, each projected by its weight's constraint; training goes on from the weights
            themselves. After n batches an average counts min(average, (1 + n) / (10 + n)) in the
            next one, so that it soon forgets where the training began.
        patience: stop after so many epochs without a better one; None (default): never. The curve
            alone decides, so that a resumed run stops where it would have stopped.

    `average` and `patience` become settings of the run.

    Returns:
        What ``metrics.json`` holds, as a dict.

    A model made in the scope of a `tf.distribute` strategy takes the steps that one device would
    take with the whole batch: the strategy's replicas share its rows, and gradients are clipped as
    a whole. Of several workers the chief writes; `out_dir` must be one folder that all see.

    Raises:
        ValueError: an argument is out of range, the replicas do not divide the task's batch size,
            or `out_dir` holds a run with other settings (the message names the first that differs)
            or files of another origin.
        NonFiniteLossError: the loss is not finite. The last finished epoch and the best checkpoint
            stay as they are.

    >>> import tempfile, keras, rnnzoo
    >>> task = rnnzoo.tasks.get("copy", delay=5, train_size=200, validation_size=100)
    >>> model = task.build_model(keras.layers.LSTM(8))
    >>> model.compile("adam", task.loss, metrics=task.metrics)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = fit_resumable(model, task, epochs=1, out_dir=folder)
    ...     both = fit_resumable(model, task, epochs=2, out_dir=folder)
    >>> both["curve"]["loss"][0] == first["curve"]["loss"][0], both["epochs"], both["parts"]
    (True, 2, 2)
    """
    _checks.integer("epochs", epochs)
    _checks.optional_integer("patience", patience)
    _check_model(model)
    _check_callbacks(callbacks)
    averages = None if average is None else Averages(model, average)
    if _keras.strategy_of(model) is not None:
        _replicas.replicate(model)
    # Endless, so that `fit` keeps one iterator: to make one takes as long as several small batches.
    train = _replicas.share_batches(model, task.train.repeat(), task.batch_size)
    validation = _replicas.share_batches(model, task.validation, task.batch_size)
    own = {"average": average, "patience": patience}
    settings = {**(settings or {}), **{k: v for k, v in own.items() if v is not None}}
    run = RunFolder(model, task, pathlib.Path(out_dir), settings, command, averages)
    if run.epoch > epochs:
        raise ValueError(
            f"`epochs` must be at least the {run.epoch} that {run.out_dir} has finished. "
            f"Received: epochs={epochs}"
        )
    meet(model, run.epoch)
    for callback in callbacks:
        if isinstance(callback, Schedule):
            callback.curve = run.curve
    if patience is not None and run.stalled(patience):
        run.begin()
        return run.write_metrics()
    model.fit(
        train,
        validation_data=validation,
        initial_epoch=run.epoch,
        epochs=epochs,
        steps_per_epoch=int(task.train.cardinality()),
        shuffle=False,  # the task shuffles
        callbacks=[*callbacks, *([averages] if averages else []), _Recorder(run, patience)],
        verbose=0,
    )
    return run.write_metrics()


def meet(model, epoch):
    """Wait until all workers are here, which must have finished the same number of epochs."""
    if not _replicas.all_have(model, epoch):
        raise ValueError(
            "`out_dir` must be one folder that all workers see: they have finished different "
            f"numbers of epochs. Received: {epoch} finished here"
        )


def evaluate_best(task, out_dir, callbacks=()):
    """Measure ``out_dir/best.keras`` on the task's test set and add it to ``metrics.json``.

    Returns the loss and every metric, as a dict of floats.
    """
    out_dir = pathlib.Path(out_dir)
    model = checkpoints.load_model(out_dir / BEST)
    model.compile(loss=task.loss, metrics=task.metrics)
    results = model.evaluate(task.test, return_dict=True, verbose=0, callbacks=list(callbacks))
    results = {name: float(value) for name, value in results.items()}
    record = json.loads((out_dir / METRICS).read_text(encoding="utf-8"))
    _record.write_json(out_dir / METRICS, {**record, "test": results})
    return results


class _Recorder(keras.callbacks.Callback):
    """Ties a `RunFolder` to `fit`; stands last, to keep what the other callbacks changed."""

    def __init__(self, run, patience):
        super().__init__()
        self.run, self.patience = run, patience

    def on_train_begin(self, logs=None):
        self.epoch = None
        self.run.begin()

    def on_epoch_begin(self, epoch, logs=None):
        self.run.parts += self.epoch is None
        self.epoch = epoch
        self.run.task.epoch = epoch
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._check(logs["loss"], "loss", f"step {batch + 1} of epoch {self.epoch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        for name in ("loss", "val_loss"):
            if name in logs:
                self._check(logs[name], name, f"the end of epoch {epoch + 1}")
        self.run.finish_epoch(epoch, logs, time.perf_counter() - self.started)
        if self.patience is not None and self.run.stalled(self.patience):
            self.model.stop_training = True

    def _check(self, value, name, where):
        if math.isfinite(value):
            return
        run, kept = self.run, "no epoch was finished before it"
        if run.best:
            best = run.best["epoch"]
            kept = f"the best checkpoint, of epoch {best}, is kept in {run.out_dir / BEST}"
        raise NonFiniteLossError(f"Training stopped: {name}={float(value)} at {where}; {kept}.")


def _check_model(model):
    if getattr(model, "optimizer", None) is None or not model.built:
        raise ValueError(
            "`model` must be built and compiled. "
            f"Received: model={model.__class__.__name__} named {getattr(model, 'name', None)!r}"
        )


def _check_callbacks(callbacks):
    remembering = (keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau)
    for callback in callbacks:
        if isinstance(callback, remembering):
            raise ValueError(
                "`callbacks` must decide by the epoch and its logs alone, since what they remember "
                f"is lost on resuming. Received: callbacks=[{type(callback).__name__}, ...]"
            )
