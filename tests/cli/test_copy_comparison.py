"""The comparison of `make run`, at its quick size."""

import io
import json

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf

import rnnzoo.export
from rnnzoo import tasks
from rnnzoo.cli import _copy_comparison


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison")
    text = io.StringIO()
    console = rich.console.Console(file=text, width=100)
    return _copy_comparison.run(out, seed=1, quick=True, console=console), text.getvalue(), out


def test_both_layers_saw_the_same(finished):
    comparison, _, out = finished
    records = {
        name: json.loads((out / name / "metrics.json").read_text())
        for name in ("hdetach_lstm", "lstm")
    }
    ours, keras_own = records["hdetach_lstm"], records["lstm"]
    assert ours["task"] == keras_own["task"]
    assert ours["optimizer"] == keras_own["optimizer"]
    assert ours["parameters"] == keras_own["parameters"] == 4 * 8 * (10 + 8 + 1) + 9 * 9
    assert ours["curve"] != keras_own["curve"]
    for name, record in records.items():
        assert comparison["layers"][name]["test"] == record["test"]
        assert len(record["curve"]["loss"]) == 2


def test_scores_are_those_of_the_saved_model(finished):
    comparison, _, out = finished
    task = tasks.get("copy", **_copy_comparison.QUICK.task_options(), seed=1)
    x, y = task.arrays("test")
    predicted = keras.models.load_model(out / "model.keras", compile=False).predict(x, verbose=0)
    right = predicted.argmax(-1)[:, -10:] == y[:, -10:]
    score = comparison["layers"]["hdetach_lstm"]["test"]["recall_accuracy"]
    assert score == pytest.approx(right.mean(), abs=1e-6)


def test_export_gives_the_same_predictions(finished):
    comparison, _, out = finished
    assert comparison["reload_difference"] == 0.0
    assert comparison["export_difference"] <= 1e-5 * comparison["largest_logit"] < 1e-3
    served = tf.saved_model.load(str(out / comparison["export"])).signatures["serving_default"]
    x = np.eye(10, dtype="float32")[[[1, 2, 3, 0, 9, 0]]]
    expected = keras.models.load_model(out / "model.keras", compile=False)(x)
    found = served(x=tf.constant(x), lengths=tf.constant([6]))["outputs"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_shown_and_kept(finished):
    comparison, text, out = finished
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "comparison.json").read_text()) == comparison
    assert "12.50%" in text
    for name in ("hdetach_lstm", "lstm"):
        shown = comparison["layers"][name]["test"]
        row = next(line for line in text.splitlines() if line.startswith(f"│ {name} "))
        assert f"{shown['recall_accuracy']:.2%}" in row
        assert f"{shown['loss']:.4f}" in row
    assert "predictions differ by at most 0.0e+00" in text


def test_again_in_the_same_folder(finished):
    """`make run` twice: nothing is trained again, and the export gets its next version."""
    comparison, _, out = finished
    again = _copy_comparison.run(out, seed=1, quick=True, console=rich.console.Console(quiet=True))
    assert again["layers"] == comparison["layers"]
    assert again["wall_time_s"] == comparison["wall_time_s"]
    assert again["export"] == "export/2"


def test_a_wrong_export_is_an_error(finished, monkeypatch):
    """A weight off by a thousandth is more than rounding."""
    *_, out = finished
    export = rnnzoo.export.export_model

    def wrong(model, directory):
        model = keras.models.clone_model(model)
        model.set_weights(
            [w * 1.001 for w in keras.models.load_model(out / "model.keras").get_weights()]
        )
        return export(model, directory)

    monkeypatch.setattr(rnnzoo.export, "export_model", wrong)
    with pytest.raises(ArithmeticError, match=r"more than rounding: export_difference=\d"):
        _copy_comparison.run(out, seed=1, quick=True, console=rich.console.Console(quiet=True))


def test_bad_arguments(tmp_path):
    with pytest.raises(TypeError, match=r"`quick` must be True or False.*quick=1"):
        _copy_comparison.run(tmp_path, quick=1)
    with pytest.raises(ValueError, match=r"`seed` must be .*seed=-1"):
        _copy_comparison.run(tmp_path, seed=-1)
    assert list(tmp_path.iterdir()) == []
