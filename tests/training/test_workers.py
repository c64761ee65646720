"""`rnnzoo train --workers`: two processes train as one, and go on where they were stopped."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from rnnzoo import checkpoints
from rnnzoo.cli import main
from rnnzoo.training import _workers

ROOT = pathlib.Path(__file__).parents[2]
LINE = (
    "train copy --units 4 --batch-size 10 --learning-rate 0.01 --set delay=2 --set train_size=40 "
    "--set validation_size=10 --set test_size=10 --seed 3 --p 0.5"
)
TRAIN = LINE.split()


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "rnnzoo", *TRAIN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def finish(*words):
    process = start(*words)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


def state(folder):
    arrays, kept = checkpoints.load_arrays(folder / "state.npz")
    return arrays, kept["curve"]


def alone(folder, *words):
    result = CliRunner().invoke(main, [*TRAIN, *words, "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return state(folder)


def same(two, one):
    for name, value in one[0].items():
        np.testing.assert_allclose(two[0][name], value, atol=1e-5, rtol=1e-5)
    assert set(two[1]) == set(one[1]) >= {"loss", "accuracy", "recall_accuracy", "val_accuracy"}
    for name, curve in one[1].items():
        np.testing.assert_allclose(two[1][name], curve, rtol=1e-4)


def test_two_workers_train_as_one_process(tmp_path):
    words = ["--epochs", "2", "--k1", "7"]
    output = finish(*words, "--workers", "2", "--out", str(tmp_path / "two"))
    assert "Best epoch" in output
    same(state(tmp_path / "two"), alone(tmp_path / "one", *words))
    record = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert record["settings"]["workers"] == 2
    assert set(record["test"]) == {"loss", "accuracy", "recall_accuracy"}


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_costs_the_unfinished_epoch(tmp_path, victim):
    finish("--epochs", "30", "--workers", "2", "--out", str(tmp_path / "whole"))
    cut = ["--epochs", "30", "--workers", "2", "--out", str(tmp_path / "cut")]
    parent = start(*cut)
    while not (tmp_path / "cut" / "metrics.json").exists():
        assert parent.poll() is None, parent.communicate()[0]
        time.sleep(0.02)
    children = pathlib.Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    os.kill(int(children[victim]), signal.SIGKILL)
    output = " ".join(parent.communicate(timeout=60)[0].split())
    assert parent.returncode == 2
    assert f"Error: Worker {victim} of 2 was ended by signal 9; the others are stopped." in output
    assert not any(pathlib.Path(f"/proc/{child}").exists() for child in children)
    finished = json.loads((tmp_path / "cut" / "metrics.json").read_text())["epochs"]
    assert finished < 30
    finish(*cut)
    whole, resumed = state(tmp_path / "whole"), state(tmp_path / "cut")
    for name, value in whole[0].items():
        np.testing.assert_array_equal(resumed[0][name], value)
    assert resumed[1] == whole[1]
    record = json.loads((tmp_path / "cut" / "metrics.json").read_text())
    assert (record["epochs"], record["parts"]) == (30, 2)


def fails(words, monkeypatch, config=None):
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    result = CliRunner().invoke(main, [*TRAIN, *words])
    assert result.exit_code == 2
    return result.output


def test_bad_use(tmp_path, monkeypatch):
    out = ["--out", str(tmp_path)]
    assert "`workers` must be an integer of at least 1. Received: workers=0" in fails(
        ["--workers", "0", *out], monkeypatch
    )
    good = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    for change, words in (
        ("{", "it cannot be read"),
        ("[]", "it cannot be read"),
        ({"cluster": {"ps": ["a:1"]}}, "its jobs must be workers and at most one chief"),
        ({"cluster": {"worker": ["a", "b:2"]}}, "its addresses must be different, host:port"),
        ({"cluster": {"worker": ["a:1", "a:1"]}}, "its addresses must be different, host:port"),
        ({"task": {"type": "worker", "index": 2}}, "its task must be one of the cluster's"),
        ({"task": {"type": "chief", "index": 0}}, "its task must be one of the cluster's"),
    ):
        config = change if isinstance(change, str) else json.dumps({**good, **change})
        output = " ".join(fails(out, monkeypatch, config).split())
        assert re.search(rf"`TF_CONFIG` must be like .*; {words}.*Received: TF_CONFIG=", output)
    output = fails(["--workers", "3", *out], monkeypatch, json.dumps(good))
    assert "`workers` must be the number that TF_CONFIG names, 2, or not be given." in output
    assert _workers.configured() == 2
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_fails_stops_the_others(capfd):
    words = r"Worker \d of 2 ended with the exit code 2; .*The same command goes on after"
    with pytest.raises(ChildProcessError, match=words):
        _workers.launch(2, ["nonsense"])
    assert capfd.readouterr().err.count("No such command 'nonsense'") <= 1
