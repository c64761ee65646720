"""Files open where only keras and rnnzoo are imported, in either order: compiled, and the same."""

import ast
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import opened_files
import pytest
import written_files

import rnnzoo
from rnnzoo import metrics, tasks

ROOT = pathlib.Path(rnnzoo.__file__).parent
KEPT = sorted(
    path
    for folder in (ROOT.parent / "results", ROOT / "saved_models")
    for path in folder.rglob("*.keras")
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a file of everything, and the numbers of the process that wrote it."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("files")
    paths = [str(path) for path in KEPT]
    for name, model, data in written_files.written(folder):
        stem = name.replace(" ", "_").replace("'", "")
        model.optimizer.build(model.trainable_variables)
        for variable in model.optimizer.variables:
            if variable is not model.optimizer.iterations and variable.shape:
                variable.assign(np.random.default_rng(1).uniform(0.1, 1, variable.shape))
        model.optimizer.iterations.assign(7)
        model.save(folder / f"{stem}.keras")
        np.savez(folder / f"{stem}.data.npz", **opened_files.flat(data))
        np.savez(folder / f"{stem}.npz", **opened_files.scored(model, data))
        paths.append(str(folder / f"{stem}.keras"))
    (folder / "paths").write_text("\n".join(paths))
    return folder


@pytest.fixture(scope="module")
def opened(files):
    """What each order of imports finds, in a process of its own."""
    script = [sys.executable, opened_files.__file__, str(files)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    started = {
        order: subprocess.Popen(
            [*script, order], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        for order in ("keras-rnnzoo", "rnnzoo-keras", "rnnzoo-tensorflow")
    }
    return {order: process.communicate() for order, process in started.items()}


@pytest.mark.parametrize("order", ["keras-rnnzoo", "rnnzoo-keras", "rnnzoo-tensorflow"])
def test_every_file_opens_compiled_with_the_same_results(opened, files, order):
    out, errors = opened[order]
    assert out, errors.decode()[-3000:]
    result = json.loads(out.splitlines()[-1])
    assert result["failed"] == {}
    assert result["opened"] == len((files / "paths").read_text().splitlines())
    assert "_WhenKerasComes" not in result["finders"]


def registered_in_sources():
    """`{"rnnzoo>LRU": "rnnzoo.layers.lru", ...}` of every decorated class."""
    found = {}
    for path in ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, "decorator_list", ()):
                if "register_keras_serializable" in ast.unparse(decorator):
                    found[f"rnnzoo>{node.name}"] = module.removesuffix(".__init__")
    return found


# What stands in no file of a user's: layers of explicit-state models, which hold another model's,
# and cells that know their states only once built, so that `keras.layers.RNN` cannot run them.
UNWRITTEN = {"CarryOutput", "CellStep", "Renamed", "GatedConvCell", "TCNCell", "WaveNetCell"}


def test_every_registered_class_stands_in_one_of_the_files(files):
    named = set()

    def visit(value):
        if isinstance(value, dict):
            named.add(value.get("registered_name"))
            value = list(value.values())
        if isinstance(value, list):
            for part in value:
                visit(part)

    for path in files.glob("*.keras"):
        with zipfile.ZipFile(path) as archive:
            visit(json.loads(archive.read("config.json")))
    assert set(registered_in_sources()) - named == {f"rnnzoo>{name}" for name in UNWRITTEN}


def test_what_is_written_is_everything():
    assert {case.split()[0] for case in written_files.TASKS} == set(tasks.names())
    elsewhere = {"AdaptiveSoftmax", "TruncatedWrapper", "WordWindows"}
    assert set(written_files.LAYERS) | elsewhere == set(rnnzoo.layers.__all__)
    assert {f"rnnzoo>{name}" for name in metrics.__all__} <= set(registered_in_sources())


def test_registering_imports_every_module_with_a_registered_class():
    code = (
        "import sys, rnnzoo; assert not [m for m in sys.modules if m.startswith('rnnzoo.tasks')];"
        "import keras; print(*(m for m in sys.modules if m.startswith('rnnzoo.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert set(registered_in_sources().values()) <= set(done.stdout.split())
