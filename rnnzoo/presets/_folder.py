"""Writing a preset: the model without its optimizer, what was measured, and the card."""

import json
import pathlib
import re

from rnnzoo import _checks, _machine, checkpoints
from rnnzoo._files import replacing_folder

MODEL, METRICS, CARD = "model.keras", "metrics.json", "card.md"
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_METRICS_VERSION = 1


def write_preset(
    folder,
    model,
    task_config,
    *,
    metric,
    score,
    command,
    seed,
    wall_time_s,
    description,
    examples,
    split="test",
    published=None,
    details=None,
):
    """Write a preset: model without optimizer, metrics and card, all of them or nothing.

    Args:
        folder: where to; its last part is the preset's name, of a-z, 0-9 and _. Not there yet.
        model: a built `keras.Model`. For `TruncatedBPTT` give the model that it wraps.
        task_config: `task.get_config()`. A `data_dir` in it is left out: it is of one machine.
        metric: what the score is called in `model.evaluate`.
        score: its value, measured on `examples` sequences of `split`.
        command: the command line that trained the model.
        seed: the run's seed.
        wall_time_s: how long the training took, in seconds.
        description: one line: layer, units, task.
        published: None, or a dict with `value` and `source` (and `epochs` …), shown beside the
            score.
        details: None, or a dict of further plain values (epochs, curve, best epoch …).

    Returns:
        The folder, as a `pathlib.Path`.

    Raises:
        ValueError: the folder exists, its name is no preset's name, the score is not finite, or
            the published value has no source.
    """
    folder = pathlib.Path(folder)
    _check_new(folder, published)
    _check_source(model, task_config)
    record = {
        "version": _METRICS_VERSION,
        "name": folder.name,
        "description": _line("description", description),
        "task": {k: None if k == "data_dir" else v for k, v in task_config.items()},
        "score": {
            "metric": _line("metric", metric),
            "value": _checks.real("score", score),
            "split": _checks.choice("split", split, ("train", "validation", "test")),
            "examples": _checks.integer("examples", examples),
        },
        "published": published,
        "seed": _checks.integer("seed", seed, minimum=0),
        "command": _line("command", command),
        "wall_time_s": round(_checks.real("wall_time_s", wall_time_s, 0.0), 3),
        **_circumstances(model),
        "details": dict(details or {}),
    }
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    with replacing_folder(folder) as part:
        _save_without_optimizer(model, part / MODEL)
        (part / METRICS).write_text(text, encoding="utf-8")
        (part / CARD).write_text(card(record), encoding="utf-8")
    return folder


def card(record):
    """The card of a preset, in Markdown, from what stands in its `metrics.json`."""
    score, task = record["score"], dict(record["task"])
    task_name = task.pop("name")
    options = ", ".join(f"{key}={value!r}" for key, value in task.items())
    hardware = record["hardware"]
    rows = [
        ("Task", f"`{task_name}` ({options})"),
        ("Score", f"{score['metric']} {score['value']:.6g} on {_sequences(score)}"),
        ("Published", _published(record["published"])),
        ("Parameters", f"{record['parameters']:,}"),
        ("Seed", str(record["seed"])),
        ("Training time", f"{record['wall_time_s']:,.0f} s"),
        ("Hardware", f"{hardware['cpu']}, {hardware['cores']} cores"),
        ("Versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items())),
        *((k.replace("_", " ").capitalize(), str(v)) for k, v in _short(record["details"])),
    ]
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    return (
        f"# {record['name']}\n\n{record['description']}\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        f"Made by\n\n```\n{record['command']}\n```\n\n"
        f'Load it with `rnnzoo.load("{record["name"]}")`, or with\n'
        "`keras.models.load_model` after `import rnnzoo`. Measure the score again with\n\n"
        f"```\nrnnzoo evaluate {record['name']}\n```\n"
    )


def _check_new(folder, published):
    if not NAME.match(folder.name):
        raise ValueError(
            "`folder` must end in a name of a-z, 0-9 and _ that starts with a letter. "
            f"Received: folder={str(folder)!r}"
        )
    if folder.exists():
        raise ValueError(
            f"`folder` must not be there yet: a preset is not overwritten. "
            f"Received: folder={str(folder)!r}"
        )
    if published is not None and not {"value", "source"} <= set(published):
        raise ValueError(
            f"`published` must have a `value` and its `source`. Received: published={published!r}"
        )


def _check_source(model, task_config):
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    if not isinstance(task_config, dict) or "name" not in task_config:
        raise TypeError(
            f"`task_config` must be the dict of `task.get_config()`. "
            f"Received: task_config={task_config!r}"
        )


def _line(name, value):
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string. Received: {name}={value!r}")
    if not value.strip() or "\n" in value:
        raise ValueError(f"`{name}` must be one line of text. Received: {name}={value!r}")
    return value


def _circumstances(model):

    return {
        "parameters": model.count_params(),
        "versions": _machine.versions(),
        "hardware": _machine.hardware(),
    }


def _save_without_optimizer(model, file):
    """Save, load without compiling, save again: Keras has no other way to leave it out."""
    checkpoints.save_model(model, file)
    checkpoints.save_model(checkpoints.load_model(file), file)


def _sequences(score):
    return f"{score['examples']:,} {score['split']} sequences"


def _published(published):
    if published is None:
        return "none known for this setting"
    more = {k: v for k, v in published.items() if k not in ("value", "source")}
    notes = "".join(f", {key} {value}" for key, value in more.items())
    return f"{published['value']} ({published['source']}{notes})"


def _short(details):
    return [(k, v) for k, v in details.items() if isinstance(v, (str, int, float, bool))]
