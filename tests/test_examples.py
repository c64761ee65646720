"""The examples run, and show what they say they show."""

import importlib.util
import pathlib

import keras
import numpy as np

import rnnzoo

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_train_copy(tmp_path):
    file = tmp_path / "copy.keras"
    results = load("train_copy").main(delay=3, epochs=2, train_size=4_000, units=8, file=file)
    assert file.is_file()
    task = rnnzoo.tasks.get("copy", delay=3, one_hot=True, train_size=4_000)
    model = keras.models.load_model(file)
    again = model.evaluate(task.test, return_dict=True, verbose=0)
    assert abs(results["recall_accuracy"] - again["recall_accuracy"]) < 1e-6
    assert results["loss"] < np.log(9), "worse than guessing among the nine classes"


def test_long_sequences():
    loss, difference = load("long_sequences").main(steps=1_000, k1=50, epochs=2)
    assert loss[1] < loss[0]
    assert difference < 1e-5


def test_every_example_is_run_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == {"train_copy", "long_sequences"}
