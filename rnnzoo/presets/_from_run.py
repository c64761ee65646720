"""A preset of a finished training run."""

from __future__ import annotations

import json
import os
import pathlib

from rnnzoo import checkpoints
from rnnzoo.presets import _recipe
from rnnzoo.presets._folder import METRICS, write_preset


def from_run(
    run: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    description: str | None = None,
    published: dict | None = None,
) -> pathlib.Path:
    """Make a preset of a finished training run: its best model with the score on the test set.

    Args:
        run: The folder that `rnnzoo train` wrote.
        folder: Where to write the preset; its last part is the name. Not there yet.
        description: One line; None (default): that of the run's recipe.
        published: A dict with `value` and `source`, see `write_preset`; None (default): the
            reference of the run's recipe, if it has one.

    Returns:
        The folder, as a `pathlib.Path`.

    Raises:
        ValueError: `run` holds no run that was scored on its test set, or one of a part of the
            data, or one without a recipe and no description is given; or see `write_preset`.
    """
    from rnnzoo import tasks

    run = pathlib.Path(run)
    record = _read(run)
    recipe = _recipe.recipe(record["recipe"]) if record.get("recipe") else None
    if description is None and recipe is None:
        raise ValueError(
            "`description` must be given for a run without a recipe. Received: description=None"
        )
    scores, metric = record["test"], record["monitor"].removeprefix("val_")
    return write_preset(
        folder,
        checkpoints.load_model(run / "best.keras"),
        record["task"],
        metric=metric,
        score=scores[metric],
        examples=tasks.get(**record["task"]).size("test"),
        command=record["command"],
        seed=record["seed"],
        wall_time_s=record["wall_time_s"],
        description=recipe.description if description is None else description,
        published=recipe.published if recipe and published is None else published,
        details=_details(record),
    )


def _read(run):
    try:
        record = json.loads((run / METRICS).read_text(encoding="utf-8"))
        record["test"][record["monitor"].removeprefix("val_")]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"`run` must be the folder of a finished training run. Received: run={str(run)!r}, "
            f"whose {METRICS} cannot be used: {type(error).__name__} {error}"
        ) from error
    if record["settings"].get("limit"):
        raise ValueError(
            "`run` must have seen all data, and been scored on them. "
            f"Received: run={str(run)!r}, with limit={record['settings']['limit']}"
        )
    return record


def _details(record):
    details = {"recipe": record["recipe"]} if record.get("recipe") else {}
    details |= {"epochs": record["epochs"], "best_epoch": record["best"]["epoch"]}
    details |= {f"test_{name}": value for name, value in record["test"].items()}
    return details | {"curve": record["curve"], "optimizer": record["optimizer"]}
