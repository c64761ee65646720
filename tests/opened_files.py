"""Opens every model of a folder in a process that imports only what is named, and compares.

    python opened_files.py FOLDER (keras-rnnzoo | rnnzoo-keras | rnnzoo-tensorflow)

A script, and what the tests and it share. It prints {"opened": N, "failed": {file: reason}}.
"""

import importlib
import json
import os
import pathlib
import sys
import warnings

import numpy as np


def scored(model, data):
    """What is to be the same in another process, as arrays by name."""
    model.run_eagerly = True  # the numbers, without the time that tracing takes
    weights = {"sample_weight": data["w"]} if "w" in data else {}
    results = model.evaluate(data["x"], data["y"], **weights, verbose=0, return_dict=True)
    found = {f"evaluate/{name}": value for name, value in results.items()}
    found |= flat({"predict": model.predict_on_batch(data["x"])})
    found["learning_rate"] = model.optimizer.learning_rate
    found |= {f"optimizer/{i}": v for i, v in enumerate(model.optimizer.variables)}
    return {name: np.asarray(value) for name, value in found.items()}


def flat(tree, path=""):
    """`{"x/tokens": array}` of dicts in dicts."""
    if not isinstance(tree, dict):
        return {path: tree}
    parts = [flat(value, f"{path}/{key}" if path else key) for key, value in tree.items()]
    return {name: value for part in parts for name, value in part.items()}


def nested(arrays):
    """The inverse of `flat`."""
    tree = {}
    for path, value in arrays.items():
        *parents, last = path.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    return tree


def compare(model, folder, stem):
    with np.load(folder / f"{stem}.data.npz") as data, np.load(folder / f"{stem}.npz") as wanted:
        found = scored(model, nested(dict(data)))
        assert set(found) == set(wanted), set(found) ^ set(wanted)
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], 1e-6, 1e-7, err_msg=name)


def main(folder, order):
    for name in order.split("-"):
        module = importlib.import_module(name)
    if order == "keras-rnnzoo":
        import keras as module
    keras = module.keras if order == "rnnzoo-tensorflow" else module
    folder, failed = pathlib.Path(folder), {}
    paths = [path.strip() for path in (folder / "paths").read_text().splitlines()]
    warnings.simplefilter("error", UserWarning)  # by which Keras says what it could not load
    for path in paths:
        try:
            model = keras.models.load_model(path)
            assert model.compiled is not path.endswith("model.keras"), "not compiled"
            if pathlib.Path(path).parent == folder:
                compare(model, folder, pathlib.Path(path).stem)
        except Exception as error:
            failed[path] = f"{type(error).__name__}: {error}"[-1500:]
    left = [type(finder).__name__ for finder in sys.meta_path]
    print(json.dumps({"opened": len(paths), "failed": failed, "finders": left}))


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    main(*sys.argv[1:])
