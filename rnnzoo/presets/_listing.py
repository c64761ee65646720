"""A preset in a line, and the table of all."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Preset:
    """What a preset says of itself: one row of `list_presets()`."""

    name: str
    description: str
    task: str
    metric: str
    score: float
    parameters: int
    size_bytes: int


class PresetList(list):
    """A list of `Preset` that prints as a table."""

    _COLUMNS = ("name", "task", "score", "metric", "parameters", "description")

    def __str__(self):
        rows = [self._COLUMNS, *(self._cells(preset) for preset in self)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self._COLUMNS))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
        return "\n".join(lines)

    __repr__ = __str__

    @staticmethod
    def _cells(preset):
        numbers = (f"{preset.score:.6g}", preset.metric, f"{preset.parameters:,}")
        return (preset.name, preset.task, *numbers, preset.description)
