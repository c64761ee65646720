"""Recipes: how each preset is trained, as plain data under the preset's name.

A recipe is a file ``recipes/NAME.toml``. Its first comment says what is trained; then come the
options of `rnnzoo.training.train`, in tables: `task` (name and options), `layers` (from the first
on), `model`, `optimizer` (its name, options and groups), `schedule`; `reference`, the published
value in the units of the monitored metric; and `smoke`, what another training has that only shows
that the recipe runs. Reading them needs no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tomllib
from typing import Any

from rnnzoo.presets import _store
from rnnzoo.presets._folder import METRICS, NAME

FOLDER = pathlib.Path(__file__).parent / "recipes"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a preset is trained; see `rnnzoo.training.train` for what the fields mean.

    Printed it shows the description, the command, and what training cost and reached, which the
    record of the preset tells once there is one.
    """

    name: str
    description: str
    task: dict
    layers: list
    epochs: int
    seed: int
    optimizer: dict
    smoke: dict
    model: dict = dataclasses.field(default_factory=dict)
    schedule: dict = dataclasses.field(default_factory=lambda: {"name": "constant"})
    bidirectional: bool = False
    clip: bool | float = True
    average: float | None = None
    patience: int | None = None
    detach_epochs: int | None = None
    k1: int | None = None
    k2: int | None = None
    reference: dict | None = None

    def training(self, smoke: bool = False) -> dict[str, Any]:
        """The arguments of `rnnzoo.training.train`, but for the folder.

        Args:
            smoke: True: of a training that ends in seconds and learns nothing.
        """
        plain = ("layers", "epochs", "seed", "optimizer", "bidirectional", "clip", "average")
        plain += ("patience", "detach_epochs", "k1", "k2")
        options = {name: getattr(self, name) for name in plain}
        task, schedule = dict(self.task), dict(self.schedule)
        options |= {"task": task.pop("name"), "task_options": task}
        options |= {"schedule": schedule.pop("name"), "schedule_options": schedule}
        options |= {"model_options": dict(self.model), "recipe": self.name}
        options["reference"] = self.reference["value"] if self.reference else None
        return options | (self.smoke if smoke else {})

    @property
    def command(self) -> str:
        """The command line that trains it."""
        return f"rnnzoo train --recipe {self.name} --out runs/{self.name}"

    @property
    def published(self) -> dict | None:
        """The published value and its source, as a preset states them."""
        if self.reference is None:
            return None
        recalled = " (recalled, not confirmed)" if self.reference.get("recalled") else ""
        return {
            "value": self.reference["value"],
            "source": f"{self.reference['source']}{recalled}",
        }

    @property
    def measured(self) -> dict | None:
        """What the preset that this recipe made has cost and scored, from its record.

        Returns:
            A dict with `seconds`, `metric` and `score`; None where there is no such preset yet.
        """
        if not (_store.FOLDER / self.name / METRICS).is_file():
            return None
        record = _store.metrics(self.name)
        if record.get("details", {}).get("recipe") != self.name:
            return None
        score = record["score"]
        return {
            "seconds": record["wall_time_s"],
            "metric": score["metric"],
            "score": score["value"],
        }

    @property
    def result(self) -> str:
        """`measured` and the reference, in words; a value that is only recalled says so."""
        found, reference = self.measured, self.reference
        words = "not trained yet"
        if found:
            words = f"{found['metric']} {found['score']:.6g} after {found['seconds']:,.0f} s"
        if reference is None:
            return words
        recalled = " (recalled)" if reference.get("recalled") else ""
        return f"{words}; reference {reference['value']:.6g}{recalled}"

    def __str__(self):
        return f"{self.description}\n\n    {self.command}\n\n{self.result}"


def recipes() -> list[Recipe]:
    """All recipes, in the order of their names.

    >>> import rnnzoo.presets
    >>> all(recipe.name in str(recipe) for recipe in rnnzoo.presets.recipes())
    True
    """
    return [_read(name) for name in _names()]


def recipe(name: str) -> Recipe:
    """The recipe of a preset.

    Args:
        name: the preset's name.

    Raises:
        TypeError: `name` is no string.
        ValueError: there is no such recipe; the message lists those there are.

    >>> import rnnzoo.presets
    >>> rnnzoo.presets.recipe("lru_digits").training(smoke=True)["epochs"]
    1
    """
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string. Received: name={name!r}")
    known = _names()
    if name not in known:
        raise ValueError(
            f"`name` must be one of the recipes: {', '.join(known)}. Received: name={name!r}"
        )
    return _read(name)


def _names():
    return sorted(file.stem for file in FOLDER.glob("*.toml") if NAME.match(file.stem))


def _read(name):
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return Recipe(name=name, **content)
