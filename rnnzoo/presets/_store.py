"""Trained models by name, each with the score it states and the command that made it.

A preset is a folder ``saved_models/<name>/`` of three files:

- ``model.keras``: the model, without optimizer;
- ``metrics.json``: task with every option, score, seed, command, wall time, versions, hardware;
- ``card.md``: the same for a reader.

Listing them reads only the JSON, so that it needs no TensorFlow.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import rnnzoo
from rnnzoo import _checks, checkpoints
from rnnzoo.presets._folder import METRICS, MODEL, NAME
from rnnzoo.presets._listing import Preset, PresetList

if TYPE_CHECKING:
    import keras

__all__ = [
    "Preset",
    "PresetList",
    "evaluate",
    "list_presets",
    "load",
    "metrics",
    "path",
]

FOLDER = pathlib.Path(rnnzoo.__file__).parent / "saved_models"


def list_presets() -> PresetList:
    """All presets, in the order of their names.

    Returns:
        A list of `Preset` (name, description, task, metric, score, parameters, size_bytes), which
        prints as a table.

    >>> import rnnzoo
    >>> all(0 < preset.size_bytes < 40e6 for preset in rnnzoo.list_presets())
    True
    """
    return PresetList(_record(name) for name in _names())


def path(name: str) -> pathlib.Path:
    """The folder of a preset, with `model.keras`, `metrics.json` and `card.md` in it.

    Raises:
        TypeError: `name` is no string.
        ValueError: there is no such preset; the message lists those there are.
    """
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string. Received: name={name!r}")
    known = _names()
    if name not in known:
        listed = ", ".join(known) if known else "(none is installed)"
        raise ValueError(f"`name` must be one of the presets: {listed}. Received: name={name!r}")
    return FOLDER / name


def load(name: str) -> keras.Model:
    """The model of a preset, a Keras model that is not compiled.

    Args:
        name: one of those in `list_presets()`.

    Raises:
        ValueError: there is no such preset; the message lists those there are.
        rnnzoo.checkpoints.CheckpointError: its file is damaged.

    >>> import rnnzoo
    >>> for preset in rnnzoo.list_presets()[:1]:
    ...     assert rnnzoo.load(preset.name).count_params() == preset.parameters
    """
    return checkpoints.load_model(path(name) / MODEL)


def metrics(name_or_file: str | os.PathLike) -> dict:
    """What stands in the ``metrics.json`` of a preset or beside a model file; {} if there is none.

    Raises:
        ValueError: the name is no preset's, or the JSON is damaged.
    """
    folder, _ = _locate(name_or_file)
    file = folder / METRICS
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise checkpoints.CheckpointError(file, f"it is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise checkpoints.CheckpointError(file, "it does not hold the record of a model.")
    return content


def evaluate(
    name_or_file: str | os.PathLike, task: Any = None, limit: int | None = None, split: str = "test"
) -> dict:
    """Measure again the score that a preset, or the run that wrote a file, states.

    Args:
        name_or_file: a preset's name, or the path of a ``.keras`` file.
        task: a task of `rnnzoo.tasks`, its name, or its configuration as a dict. By default the
            one in the ``metrics.json`` beside the model, with the options it was trained with.
        limit: how many sequences, from the first on (default None: all of them).
        split: "test" (default), "validation" or "train".

    Returns:
        A dict: `source`, `task` (its configuration), `split`, `examples`, `results` (loss and every
        metric), `metric` and `score` (the one that is stated, None where none is), `stated`.

    Raises:
        ValueError: no such preset or file, or no task is known for it.
    """
    limit = _checks.optional_integer("limit", limit)
    _checks.choice("split", split, ("train", "validation", "test"))
    record = metrics(name_or_file)
    _, file = _locate(name_or_file)
    same_task = task is None
    task = _task(task, record, file)
    model = checkpoints.load_model(file)
    model.compile(loss=task.loss, metrics=task.metrics)
    data, examples = _data(task, split, limit)
    results = model.evaluate(data, return_dict=True, verbose=0)
    results = {name: float(value) for name, value in results.items()}
    stated = _stated(record) if same_task else {}
    if stated.get("split", "test") != split:  # another split's score is no statement about this one
        stated = {}
    return {
        "source": os.fspath(name_or_file),
        "task": task.get_config(),
        "split": split,
        "examples": examples,
        "results": results,
        "metric": stated.get("metric"),
        "score": results.get(stated.get("metric")),
        "stated": stated.get("value"),
    }


def _names():
    if not FOLDER.is_dir():
        return []
    return sorted(f.name for f in FOLDER.iterdir() if (f / METRICS).is_file())


def _record(name):
    content = metrics(name)
    try:
        return Preset(
            name=name,
            description=content["description"],
            task=content["task"]["name"],
            metric=content["score"]["metric"],
            score=float(content["score"]["value"]),
            parameters=int(content["parameters"]),
            size_bytes=sum(f.stat().st_size for f in (FOLDER / name).iterdir()),
        )
    except (KeyError, TypeError, ValueError) as error:
        file = FOLDER / name / METRICS
        raise checkpoints.CheckpointError(
            file, f"it lacks what a preset states: {error}"
        ) from error


def _locate(name_or_file):
    """The folder of the record and the model file; what looks like a path is one."""
    if not isinstance(name_or_file, (str, os.PathLike)):
        raise TypeError(
            "`name_or_file` must be a preset's name or the path of a .keras file. "
            f"Received: name_or_file={name_or_file!r}"
        )
    text = os.fspath(name_or_file)
    if isinstance(name_or_file, str) and NAME.match(text):
        return path(text), path(text) / MODEL
    return pathlib.Path(text).parent, pathlib.Path(text)


def _task(task, record, file):
    from rnnzoo import tasks

    if task is None:
        task = record.get("task")
        if task is None:
            raise ValueError(
                f"`task` must be given: there is no {METRICS} with a task beside {file}. "
                "Received: task=None"
            )
    if isinstance(task, str):
        return tasks.get(task)
    if isinstance(task, dict):
        return tasks.get(**task)
    if not hasattr(task, "get_config"):
        raise TypeError(f"`task` must be a task, a task's name or a dict. Received: task={task!r}")
    return task


def _data(task, split, limit):
    data, size = getattr(task, split), task.size(split)
    if limit is not None and getattr(task, "stream", False):
        raise ValueError(
            f"`limit` must be None for a task on one long text, as {task.name} is: its score is "
            f"that of the whole. Received: limit={limit}"
        )
    if limit is None or limit >= size:
        return data, size
    return task.subset(split, limit), limit


def _stated(record):
    """The stated score: a preset's `score`, or the `test` results of a training run."""
    if "score" in record:
        return record["score"]
    metric = record.get("monitor", "").removeprefix("val_")
    value = record.get("test", {}).get(metric)
    return {} if value is None else {"metric": metric, "value": value}
