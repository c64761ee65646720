"""Each of these tasks: its default layer trains a step, is scored by name, and saves and loads."""

import json

import dummy_sources as dummy
import pytest
import tensorflow as tf
from click.testing import CliRunner

from rnnzoo import checkpoints, streaming, tasks, zoo
from rnnzoo.cli import main
from rnnzoo.tasks.atis import Atis
from rnnzoo.tasks.polyphonic_music import JSBChorales, Nottingham
from rnnzoo.training import TruncatedBPTT

SMALL = {
    "digits": {"rows": True},
    "transfer_copy": {"delay": 3, "train_size": 40, "validation_size": 20, "test_size": 20},
    "teacher_student": {
        "length": 12,
        "train_size": 40,
        "validation_size": 20,
        "test_size": 20,
        "batch_size": 20,
    },
    "jsb": {"data_dir": dummy.FOLDER},
    "nottingham": {"data_dir": dummy.FOLDER},
    "atis": {"data_dir": dummy.FOLDER, "embedding_size": 4},
    "atis intent": {"data_dir": dummy.FOLDER, "embedding_size": 4, "target": "intent"},
    "atis both": {"data_dir": dummy.FOLDER, "embedding_size": 4, "target": "both"},
}
SIZES = {JSBChorales: (5, 2, 3), Nottingham: (4, 3, 2), Atis: (5, 2, 3)}


@pytest.fixture(autouse=True)
def on_dummy_files(monkeypatch):
    for kind, sizes in SIZES.items():
        for split, size in zip(("train", "validation", "test"), sizes):
            monkeypatch.setattr(kind, f"{split}_size", size)
    with dummy.patched("poly_music"), dummy.patched("atis"):
        yield


def made(case):
    return tasks.get(case.split()[0], **SMALL[case])


@pytest.mark.parametrize("case", SMALL)
def test_default_layer_trains_a_step_and_is_scored_by_name(case, tmp_path):
    task = made(case)
    model = task.build_model(zoo.build(task.default_layer, 5))
    model.compile(task.optimizer(), task.loss, metrics=task.metrics)
    before = model.get_weights()
    history = model.fit(
        task.train.take(1), validation_data=task.validation, shuffle=False, verbose=0
    ).history
    assert task.monitor in history
    assert any((a != b).any() for a, b in zip(before, model.get_weights()))
    scores = model.evaluate(task.test, return_dict=True, verbose=0)
    assert set(scores) == set(task.baseline)
    again = checkpoints.load_model(checkpoints.save_model(model, tmp_path / "model.keras"))
    again.compile(loss=task.loss, metrics=task.metrics)
    assert again.evaluate(task.test, return_dict=True, verbose=0) == pytest.approx(scores, rel=1e-5)


@pytest.mark.parametrize("case", ["teacher_student", "jsb", "atis"])
def test_the_model_streams_and_takes_truncated_bptt(case):
    task = made(case)
    model = task.build_model(zoo.build(task.default_layer, 5))
    explicit = streaming.explicit_state(model)
    x, _ = next(iter(task.test))
    state = explicit.initial_state(tf.shape(x)[0])
    cut = x.shape[1] // 2
    first, state = explicit(x[:, :cut], state)
    second, _ = explicit(x[:, cut:], state)
    whole = model(x)
    tf.debugging.assert_near(tf.concat([first, second], axis=1), whole, atol=1e-5)
    trainer = TruncatedBPTT(model, k1=2)
    trainer.compile(task.optimizer(), task.loss, metrics=task.metrics)
    history = trainer.fit(task.train.take(1), shuffle=False, verbose=0).history
    assert history["loss"][0] > 0


@pytest.mark.parametrize("case", ["digits", "jsb", "atis both"])
def test_command_line_trains_and_scores(case, tmp_path):
    options = [f"--set={key}={value}" for key, value in SMALL[case].items()]
    command = ["train", case.split()[0], "--units=4", "--epochs=1", f"--out={tmp_path / 'run'}"]
    result = CliRunner().invoke(main, [*command, *options])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(record["test"]) == set(record["baseline"])
    measured = CliRunner().invoke(
        main, ["evaluate", str(tmp_path / "run" / "best.keras"), "--limit=2"]
    )
    assert measured.exit_code == 0, measured.output
    assert "2 test sequences" in measured.output
