"""Presets: what is listed, loaded, measured again, and written."""

import dataclasses
import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import rnnzoo
from rnnzoo import presets, tasks
from rnnzoo.checkpoints import CheckpointError
from rnnzoo.presets._folder import write_preset
from rnnzoo.training.resumable import evaluate_best, fit_resumable

TASK = {"delay": 5, "train_size": 100, "validation_size": 40, "test_size": 60, "seed": 3}


def _task():
    return tasks.get("copy", **TASK)


def _trained(task):
    model = task.build_model(keras.layers.LSTM(8))
    model.compile(task.optimizer(), task.loss, metrics=task.metrics)
    model.fit(task.train, shuffle=False, verbose=0)
    return model


def _write(folder, model=None, **changes):
    task = _task()
    model = model or task.build_model(keras.layers.LSTM(8))
    told = {
        "metric": "recall_accuracy",
        "score": 0.125,
        "examples": 60,
        "command": "rnnzoo train copy --layer lstm --units 8",
        "seed": 3,
        "wall_time_s": 12.3456,
        "description": "LSTM of 8 units on copying after 5 steps",
        **changes,
    }
    return write_preset(folder, model, told.pop("task_config", task.get_config()), **told)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A folder with one preset, whose stated score was measured."""
    keras.utils.set_random_seed(0)
    folder, task = tmp_path_factory.mktemp("saved_models"), _task()
    model = _trained(task)
    results = model.evaluate(task.test, return_dict=True, verbose=0)
    _write(
        folder / "lstm_copy_t5",
        model,
        score=float(results["recall_accuracy"]),
        published={"value": 0.99, "source": "a table", "epochs": 600},
        details={"epochs": 1, "curve": {"loss": [2.0]}},
    )
    return folder, [np.array(w) for w in model.get_weights()], results


@pytest.fixture
def installed(zoo, monkeypatch):
    monkeypatch.setattr("rnnzoo.presets._store.FOLDER", zoo[0])
    return zoo


def test_a_preset_loads_with_its_weights_and_without_an_optimizer(installed):
    folder, weights, _ = installed
    model = rnnzoo.load("lstm_copy_t5")
    assert not model.compiled
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    file = folder / "lstm_copy_t5" / "model.keras"
    with zipfile.ZipFile(file) as archive:
        assert not json.loads(archive.read("config.json"))["compile_config"]
        assert b"optimizer" not in archive.read("model.weights.h5")
    again = keras.models.load_model(file)
    np.testing.assert_array_equal(again.get_weights()[0], weights[0])


def test_the_list_is_records_and_prints_as_a_table(installed):
    folder, weights, results = installed
    listed = rnnzoo.list_presets()
    size = sum(f.stat().st_size for f in (folder / "lstm_copy_t5").iterdir())
    assert [dataclasses.asdict(preset) for preset in listed] == [
        {
            "name": "lstm_copy_t5",
            "description": "LSTM of 8 units on copying after 5 steps",
            "task": "copy",
            "metric": "recall_accuracy",
            "score": results["recall_accuracy"],
            "parameters": sum(w.size for w in weights),
            "size_bytes": size,
        }
    ]
    head, row = str(listed).splitlines()
    assert head.split() == ["name", "task", "score", "metric", "parameters", "description"]
    assert row.startswith(f"lstm_copy_t5  copy  {results['recall_accuracy']:.6g}")
    assert head.index("description") == row.index("LSTM of 8 units")


def test_an_empty_zoo_lists_nothing_and_says_so(tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path / "absent"):
        monkeypatch.setattr("rnnzoo.presets._store.FOLDER", folder)
        assert presets.list_presets() == []
        with pytest.raises(ValueError, match=r"\(none is installed\). Received: name='x'"):
            presets.load("x")


def test_evaluate_measures_the_stated_score_again(installed):
    _, _, results = installed
    found = presets.evaluate("lstm_copy_t5")
    assert found["metric"] == "recall_accuracy"
    assert found["stated"] == pytest.approx(results["recall_accuracy"], abs=1e-12)
    assert found["score"] == pytest.approx(found["stated"], abs=1e-6)
    assert found["results"] == pytest.approx(results, abs=1e-5)
    assert (found["examples"], found["split"]) == (60, "test")
    assert found["task"] == _task().get_config()


@pytest.mark.parametrize("limit", [7, 59, 60, 1000])
def test_evaluate_takes_the_first_sequences(installed, limit):
    found = presets.evaluate("lstm_copy_t5", limit=limit)
    task, model = _task(), presets.load("lstm_copy_t5")
    x, y = task.arrays("test")
    model.compile(loss=task.loss, metrics=task.metrics)
    expected = model.evaluate(x[:limit], y[:limit], return_dict=True, verbose=0, batch_size=60)
    assert found["examples"] == min(limit, 60)
    assert found["results"] == pytest.approx(expected, abs=1e-5)


def test_evaluate_takes_other_tasks_and_splits(installed):
    config = {**_task().get_config(), "delay": 9, "test_size": 10}
    by_config = presets.evaluate("lstm_copy_t5", task=config)
    by_task = presets.evaluate("lstm_copy_t5", task=tasks.get(**config))
    assert by_config == by_task
    assert by_config["task"]["delay"] == 9
    assert by_config["stated"] is None, "the card states no score on another task"
    on_validation = presets.evaluate("lstm_copy_t5", split="validation")
    assert on_validation["examples"] == 40
    assert on_validation["stated"] is None, "the card states the score on the test set"


def test_evaluate_reads_the_record_of_a_run_beside_its_file(tmp_path):
    task = _task()
    model = task.build_model(keras.layers.LSTM(8))
    file = rnnzoo.checkpoints.save_model(model, tmp_path / "best.keras")
    record = {
        "task": task.get_config(),
        "monitor": "val_recall_accuracy",
        "test": {"loss": 2.2, "recall_accuracy": 0.5},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(record))
    for source in (file, str(file)):
        found = presets.evaluate(source)
        assert (found["metric"], found["stated"]) == ("recall_accuracy", 0.5)
        assert found["score"] == found["results"]["recall_accuracy"]
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"`task` must be given: .*best\.keras"):
        presets.evaluate(file)
    assert presets.evaluate(file, task=task)["results"] == found["results"]


def test_the_card_states_what_the_metrics_hold(installed):
    folder, _, results = installed
    record = json.loads((folder / "lstm_copy_t5" / "metrics.json").read_text())
    card = (folder / "lstm_copy_t5" / "card.md").read_text()
    assert record["score"] == {
        "metric": "recall_accuracy",
        "value": results["recall_accuracy"],
        "split": "test",
        "examples": 60,
    }
    assert record["seed"] == 3
    assert record["wall_time_s"] == 12.346
    assert set(record["versions"]) == {"python", "tensorflow", "keras", "numpy", "rnnzoo"}
    assert record["hardware"]["cores"] >= 1
    assert record["task"] == _task().get_config()
    for words in (
        "# lstm_copy_t5",
        f"| Score | recall_accuracy {results['recall_accuracy']:.6g} on 60 test sequences |",
        "| Published | 0.99 (a table, epochs 600) |",
        "| Task | `copy` (delay=5, ",
        "rnnzoo train copy --layer lstm --units 8",
        f"keras {keras.__version__}",
        "| Epochs | 1 |",
        "rnnzoo evaluate lstm_copy_t5",
        record["hardware"]["cpu"],
    ):
        assert words in card
    assert "curve" not in card.lower()


def test_a_folder_of_one_machine_is_not_published(tmp_path):
    config = {**tasks.get("smnist").get_config(), "data_dir": "/home/someone/data"}
    folder = _write(tmp_path / "one", task_config=config)
    for file in ("metrics.json", "card.md"):
        assert "someone" not in (folder / file).read_text()


def test_a_preset_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnzoo.presets._folder.card", lambda record: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _write(tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def test_a_preset_is_not_overwritten(tmp_path):
    folder = _write(tmp_path / "one")
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match="`folder` must not be there yet"):
        _write(folder, score=0.9)
    assert (folder / "metrics.json").read_bytes() == before


def test_damaged_presets_are_refused_by_file(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnzoo.presets._store.FOLDER", tmp_path)
    folder = _write(tmp_path / "one")
    model = (folder / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(model[:2000])
    with pytest.raises(CheckpointError, match=r"one.model\.keras: it is truncated"):
        presets.load("one")
    record = json.loads((folder / "metrics.json").read_text())
    del record["score"]
    (folder / "metrics.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"metrics\.json: it lacks what a preset states"):
        presets.list_presets()
    (folder / "metrics.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"one.metrics\.json: it is no JSON"):
        presets.list_presets()
    (folder / "metrics.json").write_text("[]")
    with pytest.raises(CheckpointError, match="does not hold the record"):
        presets.metrics("one")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: presets.load("nothing"), ValueError, "one of the presets: lstm_copy_t5. Rec"),
        (lambda p: presets.load(3), TypeError, "`name` must be a string. Received: name=3"),
        (lambda p: presets.load("../lstm_copy_t5"), ValueError, "one of the presets"),
        (lambda p: presets.path(""), ValueError, "one of the presets"),
        (lambda p: presets.evaluate("nothing"), ValueError, "one of the presets"),
        (lambda p: presets.evaluate(None), TypeError, "`name_or_file` must be a preset's name"),
        (lambda p: presets.evaluate(p / "m.keras", task="copy"), ValueError, "no such file"),
        (lambda p: presets.evaluate("lstm_copy_t5", limit=0), ValueError, "`limit` must be an int"),
        (lambda p: presets.evaluate("lstm_copy_t5", limit=1.5), TypeError, "`limit` must be an"),
        (lambda p: presets.evaluate("lstm_copy_t5", split="all"), ValueError, "`split` must be"),
        (lambda p: presets.evaluate("lstm_copy_t5", task="tapes"), ValueError, "Received: name="),
        (lambda p: presets.evaluate("lstm_copy_t5", task=3), TypeError, "`task` must be a task"),
        (lambda p: _write(p / "Copy T5"), ValueError, "`folder` must end in a name of a-z"),
        (lambda p: _write(p / "a", score=float("nan")), ValueError, "`score` must be a number"),
        (lambda p: _write(p / "a", score="0.5"), TypeError, "`score` must be a number"),
        (lambda p: _write(p / "a", command=""), ValueError, "`command` must be one line"),
        (lambda p: _write(p / "a", command=None), TypeError, "`command` must be a string"),
        (lambda p: _write(p / "a", seed=-1), ValueError, "`seed` must be an integer"),
        (lambda p: _write(p / "a", wall_time_s=-1), ValueError, "`wall_time_s` must be a number"),
        (lambda p: _write(p / "a", examples=0), ValueError, "`examples` must be an integer"),
        (lambda p: _write(p / "a", split="dev"), ValueError, "`split` must be one of"),
        (lambda p: _write(p / "a", published={"value": 1}), ValueError, "`published` must have"),
        (lambda p: _write(p / "a", model="m"), TypeError, "`model` must be a keras.Model"),
        (lambda p: _write(p / "a", task_config="copy"), TypeError, "`task_config` must be"),
    ],
)
def test_wrong_calls(installed, tmp_path, call, error, words):
    with pytest.raises(error, match=words):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_listing_needs_no_tensorflow():
    code = "import sys, rnnzoo; rnnzoo.list_presets(); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_installed_presets_are_sound_and_small():
    listed = presets.list_presets()
    assert sum(preset.size_bytes for preset in listed) < 40e6
    for preset in listed:
        assert presets.load(preset.name).count_params() == preset.parameters
        card = (presets.path(preset.name) / "card.md").read_text()
        assert f"{preset.metric} {preset.score:.6g} on " in card


def test_a_finished_run_becomes_a_preset_with_its_test_score(tmp_path):
    task = _task()
    model = task.build_model(keras.layers.LSTM(8))
    model.compile(task.optimizer(), task.loss, metrics=task.metrics)
    fit_resumable(model, task, 1, tmp_path / "run", settings={"seed": 3}, command="rnnzoo train c")
    with pytest.raises(ValueError, match=r"`run` must be .*'test'"):
        presets.from_run(tmp_path / "run", tmp_path / "made", description="d")
    scores = evaluate_best(task, tmp_path / "run")
    folder = presets.from_run(tmp_path / "run", tmp_path / "made", description="d")
    record = json.loads((folder / "metrics.json").read_text())
    assert record["score"]["value"] == scores["recall_accuracy"]
    assert record["score"]["examples"] == 60
    assert record["command"] == "rnnzoo train c"
    assert record["details"]["best_epoch"] == 1
