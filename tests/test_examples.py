"""The examples run, and show what they say they show."""

import importlib.util
import pathlib

import keras
import numpy as np

import rnnzoo
from rnnzoo.tasks.midi import from_midi

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


def test_continue_chorale(tmp_path, real_data):
    real_data("poly_music")
    file = tmp_path / "chorale.mid"
    roll = load("continue_chorale").main(epochs=1, begin=8, frames=4, out=file)
    chorale = rnnzoo.tasks.get("jsb").pieces("test")[0]
    assert roll.shape == (12, 88)
    np.testing.assert_array_equal(roll[:8], chorale[:8])
    np.testing.assert_array_equal(from_midi(file), roll)


def test_a_continued_chorale_is_what_the_model_says():
    """A model that hears key k expects k + 1; every frame is heard before the next is drawn."""
    layer = keras.layers.SimpleRNN(88, activation=None, return_sequences=True)
    layer.build((None, None, 88))
    layer.set_weights([60 * np.eye(88, k=1), np.zeros([88, 88]), np.full(88, -30.0)])
    model = keras.Sequential([keras.Input((None, 88)), layer])
    begin = np.eye(88, dtype=np.uint8)[[50, 10]]
    roll = load("continue_chorale").continued(model, begin, frames=5)
    np.testing.assert_array_equal(roll, np.eye(88)[[50, 10, 11, 12, 13, 14, 15]])


def test_the_support_vector_machine_is_the_reference_of_the_recipes():
    _, accuracy = load("digits_svm").main()
    for name in ("lru_digits", "stable_rnn_digits"):
        assert rnnzoo.presets.recipe(name).reference["value"] == round(accuracy, 3)


def test_every_example_is_run_here():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {"train_copy", "long_sequences", "continue_chorale", "digits_svm"}
