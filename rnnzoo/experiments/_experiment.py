"""What every experiment is made of: cells that are done once, a record, and a figure.

An experiment is a module with

    SCALES      dict: scale -> settings, plain data; all that decides the results, seeds too
    PUBLISHED   list of dicts: what the paper says, each with "value", "source" and "confidence"
    NOTES       list of strings: reduced sizes, differences to the paper, what to read with care
    cells(settings)               -> list of `Cell`
    summarize(settings, results)  -> dict: what the cells say together; results has those that are
                                     finished, by name
    draw(settings, summary)       -> the figure, begun with `new_figure`
    table(settings, summary)      -> optional: Markdown, for table.md

and a line in the table of `rnnzoo.experiments`. `cells` is cheap and needs no TensorFlow.
"""

import dataclasses
import functools
import importlib
import itertools
import json
import pathlib
import time
from collections.abc import Callable

from rnnzoo import _machine
from rnnzoo._figures import new_figure
from rnnzoo._files import replacing
from rnnzoo.experiments import _jobs

__all__ = ["Cell", "best", "grid", "new_figure", "run", "train"]

RESULT, METRICS, FIGURE, TABLE = "result.json", "metrics.json", "figure.png", "table.md"
CELLS = "cells"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One piece of work whose result is kept: a training, or any other computation.

    Attributes:
        name: parts joined by slashes, for example "adding/lstm/0.001"; also its folder.
        settings: dict of plain data by which a kept result is recognised.
        work: function ``(folder, console) -> dict`` of plain data. The folder is the cell's own;
            what the work leaves there is found again after an interruption. If it returns
            "wall_time_s", that is the cell's time, else the time of the call.
    """

    name: str
    settings: dict
    work: Callable


def grid(**axes):
    """Every combination of the values, as dicts, the last axis fastest.

    >>> from rnnzoo.experiments._experiment import grid
    >>> grid(layer=["lstm"], seed=[0, 1])
    [{'layer': 'lstm', 'seed': 0}, {'layer': 'lstm', 'seed': 1}]
    """
    return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


def best(results, score, mode="min"):
    """The name whose result scores best, or None; a score of None (it diverged) does not count.

    Args:
        results: dict of results by name.
        score: function of a result.
        mode: "min" or "max".

    >>> from rnnzoo.experiments._experiment import best
    >>> best({"a": {"loss": 2.0}, "b": {"loss": 1.0}, "c": {"loss": None}}, lambda r: r["loss"])
    'b'
    """
    scores = {name: score(result) for name, result in results.items()}
    scores = {name: value for name, value in scores.items() if value is not None}
    return (max if mode == "max" else min)(scores, key=scores.get) if scores else None


def train(folder, console, **options):
    """One call of `training.train`, as the result of a cell.

    A training whose loss stops being finite has the result {"diverged": what was said}: a learning
    rate that is too high is a finding, and no reason to stop a grid.
    """
    import keras
    import tensorflow as tf

    from rnnzoo import training

    try:
        record = training.train(out_dir=folder, console=console, **options)
    except (FloatingPointError, tf.errors.InvalidArgumentError) as error:
        if "finite" not in str(error):
            raise
        return {"diverged": _first_clause(error)}
    finally:
        keras.backend.clear_session()  # a grid makes hundreds of models
    kept = ("test", "best", "monitor", "parameters", "epochs", "curve", "wall_time_s", "parts")
    return {key: record[key] for key in (*kept, "baseline", "epoch_seconds")}


def _first_clause(error):
    """What the message says before it comes to this machine's paths."""
    if isinstance(error, FloatingPointError):
        return str(error).split(";")[0]
    return "a weight was not finite after an optimizer step"


def run(id, module, scale, out_dir=None, only=None, console=None, jobs=1):
    """See `rnnzoo.experiments.reproduce`."""
    import rich.console

    console = console or rich.console.Console()
    _jobs.shares(jobs)
    _quiet()
    out_dir = pathlib.Path("results", *id.split("/"), scale) if out_dir is None else out_dir
    out_dir = pathlib.Path(out_dir)
    cells = module.cells(module.SCALES[scale])
    chosen = _chosen(cells, only)
    kept = {cell.name: _kept(cell, out_dir) for cell in cells}
    todo = [cell for cell in chosen if kept[cell.name] is None]
    console.print(f"{id}, {scale}: {len(chosen)} cells, {len(chosen) - len(todo)} done before.")
    started = time.perf_counter()
    if jobs == 1:
        finished = _one_by_one(todo, out_dir, console)
    else:
        work = functools.partial(_do_quietly, module.__name__, scale, out_dir)
        finished = _jobs.run(work, [cell.name for cell in todo], jobs)
    for number, (name, kept[name]) in enumerate(finished, 1):
        mean = (time.perf_counter() - started) / number / 60
        left = f"{kept[name]['seconds']:.1f} s; about {mean * (len(todo) - number):.0f} min left"
        console.print(f"[{number}/{len(todo)}] {name}: {left}", markup=False, soft_wrap=True)
    record = _record(id, module, scale, {n: k for n, k in kept.items() if k is not None}, cells)
    _write(record, module, out_dir)
    console.print(f"Record and figure: {out_dir}", soft_wrap=True)
    return record


def _one_by_one(cells, out_dir, console):
    """Do these cells, and yield each one's name and what is kept."""
    for cell in cells:
        console.print(cell.name, markup=False, soft_wrap=True)
        yield cell.name, _do(cell, out_dir, console)


def _do_quietly(experiment, scale, out_dir, name):
    """Do one cell, in a process of its own: functions of cells need not be fit to be sent there."""
    import rich.console

    module = importlib.import_module(experiment)
    [cell] = [c for c in module.cells(module.SCALES[scale]) if c.name == name]
    _quiet()
    return _do(cell, out_dir, rich.console.Console(quiet=True))


def _quiet():
    """Without TensorFlow's advice on tracing: every cell is a new model, and traced once."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")


def _chosen(cells, only):
    chosen = [c for c in cells if only is None or f"{c.name}/".startswith(f"{only}/")]
    if not chosen:
        first = dict.fromkeys(cell.name.split("/")[0] for cell in cells)
        raise ValueError(
            f"`only` must be a cell's name or the beginning of some: one of {', '.join(first)}, "
            f"perhaps with more parts. Received: only={only!r}"
        )
    return chosen


def _kept(cell, out_dir):
    """What an earlier run left of a finished cell, or None."""
    from rnnzoo.training import _record

    path = out_dir / CELLS / cell.name / RESULT
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    settings = json.loads(json.dumps(cell.settings))
    difference = _record.first_difference(kept["settings"], settings)
    if difference is not None:
        setting, there, here = difference
        raise ValueError(
            f"`out_dir` must be empty or hold the same experiment: in {path.parent} `{setting}` "
            f"is {there!r}. Received: {setting}={here!r}"
        )
    return kept


def _do(cell, out_dir, console):
    """Do a cell, keep what comes of it in its folder, and return that."""
    from rnnzoo.training import _record

    folder = out_dir / CELLS / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    result = cell.work(folder, console)
    seconds = result.get("wall_time_s", time.perf_counter() - started)
    kept = {
        "settings": cell.settings,
        "result": result,
        "seconds": round(seconds, 3),
        "made_with": {"versions": _machine.versions(), "hardware": _machine.hardware()},
    }
    _record.write_json(folder / RESULT, kept)
    return json.loads((folder / RESULT).read_text(encoding="utf-8"))  # as it will be found again


def _record(id, module, scale, kept, cells):
    settings = module.SCALES[scale]
    made_with = []
    for cell in kept.values():
        if cell["made_with"] not in made_with:
            made_with.append(cell["made_with"])
    results = {name: cell["result"] for name, cell in kept.items()}
    return {
        "experiment": id,
        "scale": scale,
        "command": f"rnnzoo reproduce {id} --scale {scale}",
        "settings": settings,
        "notes": module.NOTES,
        "published": module.PUBLISHED,
        "missing": [cell.name for cell in cells if cell.name not in kept],
        "summary": module.summarize(settings, results),
        "wall_time_s": round(sum(cell["seconds"] for cell in kept.values()), 3),
        "made_with": made_with,
        "cells": {
            name: {key: cell[key] for key in ("settings", "seconds", "result")}
            for name, cell in kept.items()
        },
    }


def _write(record, module, out_dir):
    from rnnzoo.training import _record

    figure = module.draw(record["settings"], record["summary"])
    with replacing(out_dir / FIGURE) as part:
        figure.savefig(part, dpi=120, format="png")
    if hasattr(module, "table"):
        with replacing(out_dir / TABLE) as part:
            part.write_text(module.table(record["settings"], record["summary"]), encoding="utf-8")
    _record.write_json(out_dir / METRICS, record)
