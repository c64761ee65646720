"""Two replicas train as one device does: two logical devices, in a process of their own."""

import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import pytest

from rnnzoo import tasks, zoo
from rnnzoo.training import _replicas

SCRIPT = pathlib.Path(__file__).with_name("two_replicas.py")


def run(*cases):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(
        [sys.executable, SCRIPT, *cases], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def same(result):
    assert result["moved"] > 0.02
    assert result["weights"] < 2e-5
    assert max(result["history"].values()) < 1e-4
    assert result["steps"][0] == result["steps"][1]


def test_truncated_bptt():
    """Masks, penalties, clipping by the global norm and the draws of h-detach; loss and metrics."""
    result = run("strides")["strides"]
    same(result)
    assert result["steps"] == [8, 8]  # of 3 strides a batch, one has no weight
    names = {"loss", "mae", "mse", "val_loss", "val_mae", "val_mse"}
    assert set(result["history"]) == names


@pytest.mark.slow
def test_keras_model_and_stateful_strides():
    for result in run("keras", "stateful", "tokens", "strides of tokens").values():
        same(result)


@pytest.mark.slow
@pytest.mark.parametrize("cases", [["reach", "end", "loss scale", "uneven"], list(zoo.LAYERS)])
def test_others(cases):
    for result in run(*cases).values():
        same(result)


@pytest.mark.slow
def test_truncated_layers_and_what_keras_does_alone():
    *cut, keras_alone = run("window cut", "gradient cut", "chunk cut", "not shared").values()
    for result in cut:
        same(result)
    assert keras_alone["weights"] > 1e-3  # so that the equalities above say something


def test_bad_use():
    task = tasks.get("copy", batch_size=5, train_size=10)
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    model = types.SimpleNamespace(_distribute_strategy=strategy)
    with pytest.raises(ValueError, match=r"`batch_size` .* multiple of the 2 replicas.*size=5"):
        _replicas.share_batches(model, task.train, task.batch_size)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    with pytest.raises(ValueError, match=r"`loss` must be an average .*reduction='sum'"):
        _replicas.make_function(model, None)
    model.compile("sgd", "mse", steps_per_execution=2)
    with pytest.raises(ValueError, match=r"`steps_per_execution` must be 1 .*execution=2"):
        _replicas.make_function(model, None)
