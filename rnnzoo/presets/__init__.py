"""Named checkpoints: what there is, loading them, scores, recipes, and making more of them."""

from rnnzoo.presets._from_run import from_run
from rnnzoo.presets._recipe import Recipe, recipe, recipes
from rnnzoo.presets._store import (
    Preset,
    PresetList,
    evaluate,
    list_presets,
    load,
    metrics,
    path,
)

__all__ = [
    "Preset",
    "PresetList",
    "Recipe",
    "evaluate",
    "from_run",
    "list_presets",
    "load",
    "metrics",
    "path",
    "recipe",
    "recipes",
]
