"""Records of runs: what decides a result, where two records differ, and how one is written."""

import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from rnnzoo._files import replacing

# Names that Keras numbers by what else the process has built; they do not change the arithmetic.
_INCIDENTAL = {
    "name",
    "shared_object_id",
    "inbound_nodes",
    "input_layers",
    "output_layers",
    "build_config",
    "compile_config",
    "module",
    "registered_name",
}


def describe(model, task, settings=None):
    """Everything that decides a run's result, as plain JSON data."""
    described = {
        "settings": dict(settings or {}),
        # Where the data lie does not change them: their hashes are checked.
        "task": {k: v for k, v in task.get_config().items() if k != "data_dir"},
        "optimizer": _without_incidentals(keras.optimizers.serialize(model.optimizer)),
        "model": _without_incidentals(keras.saving.serialize_keras_object(model)),
    }
    return json.loads(json.dumps(described, default=_plain))


def first_difference(there, here, path=""):
    """`(dotted path, value there, value here)` of the first setting that differs, or None."""
    if isinstance(there, dict) and isinstance(here, dict):
        pairs = [(key, there.get(key), here.get(key)) for key in {**there, **here}]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(there, here))]
    else:
        return None if there == here else (path, there, here)
    for key, a, b in pairs:
        found = first_difference(a, b, f"{path}.{key}" if path else key)
        if found is not None:
            return found
    return None


def write_json(path, content):
    """Write `content` so that a reader sees the old file or the new one, never a part."""
    with replacing(pathlib.Path(path)) as part:
        part.write_text(_indented(content) + "\n", encoding="utf-8")


def _indented(content, margin="\n"):
    """JSON with a line for each entry; a list without lists or dicts in it (a curve) has one."""
    inner = margin + "  "
    if isinstance(content, dict) and content:
        entries = [f"{json.dumps(k)}: {_indented(v, inner)}" for k, v in content.items()]
        return f"{{{inner}{f',{inner}'.join(entries)}{margin}}}"
    if isinstance(content, (list, tuple)) and any(isinstance(v, (dict, list)) for v in content):
        return f"[{inner}{f',{inner}'.join(_indented(v, inner) for v in content)}{margin}]"
    return json.dumps(content)


def _plain(value):
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (tuple, set)):
        return list(value)
    return repr(value) if isinstance(value, tf.DType) else str(value)


def _without_incidentals(config):
    if isinstance(config, dict):
        return {k: _without_incidentals(v) for k, v in config.items() if k not in _INCIDENTAL}
    if isinstance(config, (list, tuple)):
        return [_without_incidentals(item) for item in config]
    return config
