"""The examples run, and show what they say they show."""

import importlib.util
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_train_copy(tmp_path):
    file = tmp_path / "copy.keras"
    results = load("train_copy").main(delay=3, epochs=2, train_size=500, units=8, file=file)
    assert file.is_file()
    assert 0.0 < results["recall_accuracy"] <= 1.0


def test_long_sequences():
    loss, difference = load("long_sequences").main(steps=1_000, k1=50, epochs=2)
    assert loss[1] < loss[0]
    assert difference < 1e-5


def test_every_example_is_run_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == {"train_copy", "long_sequences"}
