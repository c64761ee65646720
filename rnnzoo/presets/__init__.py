"""Named checkpoints: what there is, loading them, their scores, and making more of them."""

from rnnzoo.presets._store import (
    Preset,
    PresetList,
    evaluate,
    from_run,
    list_presets,
    load,
    metrics,
    path,
)

__all__ = [
    "Preset",
    "PresetList",
    "evaluate",
    "from_run",
    "list_presets",
    "load",
    "metrics",
    "path",
]
