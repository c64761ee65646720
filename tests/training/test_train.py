"""`training.train`: stacks, optimizers, early stopping, the end of h-detach, and quick looks."""

import io
import json

import keras
import numpy as np
import pytest
import rich.console

import rnnzoo.tasks
from rnnzoo import checkpoints, training
from rnnzoo.training import _build
from rnnzoo.training._run_folder import RunFolder
from rnnzoo.training.optimizers import GroupedAdamW

QUIET = rich.console.Console(file=io.StringIO())
SIZES = {"delay": 3, "train_size": 40, "validation_size": 20, "test_size": 20, "batch_size": 10}
STACK = [
    {"layer": "lru", "units": 3, "state_size": 5, "r_min": 0.5},
    {"layer": "hdetach_lstm", "units": 4, "p": 0.5},
]


def train(folder, epochs=1, **options):
    options = {"seed": 1, "task_options": SIZES, **options}
    return training.train("copy", out_dir=folder, epochs=epochs, console=QUIET, **options)


def test_a_stack_of_different_layers(tmp_path):
    record = train(tmp_path, layers=STACK)
    assert record["settings"]["layers"] == STACK
    assert "layer" not in record["settings"]
    model = checkpoints.load_model(tmp_path / "best.keras")
    first, second = model.layers[1:3]
    assert (first.cell.units, second.units, second.p) == (3, 4, 0.5)
    lru = 3 * 5 + 2 * 5 * 1 + 2 * 3 * 5 + 3
    assert record["parameters"] == lru + 4 * 4 * (3 + 4 + 1) + 9 * (4 + 1)
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    other = [STACK[0], {**STACK[1], "p": 0.25}]
    with pytest.raises(ValueError, match=r"`settings\.layers\.1\.p` is 0\.5\. .*=0\.25"):
        train(tmp_path, 2, layers=other)


BAD = [
    ({"layers": []}, ValueError, r"`layers` must be a list of dicts\. Received: layers=\[\]"),
    ({"layers": [{"layer": "lru"}]}, ValueError, r"with `layer`, `units` .*\{'layer': 'lru'\}"),
    ({"layers": STACK, "units": 3}, ValueError, r"`units` must not be given beside `layers`.*=3"),
    ({"layers": STACK, "depth": 2}, ValueError, r"`depth` must not be given beside `layers`.*=2"),
    ({"optimizer": "adam"}, TypeError, r"`optimizer` must be a dict.*optimizer='adam'"),
    ({"optimizer": {"name": "lion"}}, ValueError, r"`optimizer` must be one of 'adam', .*'lion'"),
    (
        {"optimizer": {"name": "sgd", "beta_1": 0.5}},
        ValueError,
        r"`beta_1` must be an option of the optimizer sgd: one of .*momentum.*beta_1=0\.5",
    ),
    (
        {"optimizer": {"name": "sgd", "learning_rate": 0.5}, "learning_rate": 0.1},
        ValueError,
        r"`learning_rate` must be given once",
    ),
    ({"clip": 0}, ValueError, r"`clip` must be a number in \(0, inf\].*clip=0"),
    ({"clip": "1"}, TypeError, r"`clip` must be a number.*clip='1'"),
    ({"patience": 0}, ValueError, r"`patience` must be an integer of at least 1.*patience=0"),
    ({"detach_epochs": -1}, ValueError, r"`detach_epochs` must be .*detach_epochs=-1"),
    ({"limit": 0}, ValueError, r"`limit` must be an integer of at least 1.*limit=0"),
]


@pytest.mark.parametrize(("options", "error", "words"), BAD, ids=[str(bad[0]) for bad in BAD])
def test_bad_options_leave_nothing_behind(options, error, words, tmp_path):
    with pytest.raises(error, match=words):
        train(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_optimizer_of_the_task_is_the_default():
    task = rnnzoo.tasks.get("copy", delay=2)
    optimizer = _build.build_optimizer(task, None, None, clip=True)
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
    assert optimizer.global_clipnorm == task.optimizer().global_clipnorm is not None
    other = _build.build_optimizer(task, None, 0.5, clip=False)
    assert float(other.learning_rate) == 0.5
    assert other.global_clipnorm is None


def test_optimizer_by_name():
    task = rnnzoo.tasks.get("copy", delay=2)
    groups = [{"match": "nu_log", "rate": 0.5}]
    given = {"name": "grouped_adamw", "weight_decay": 0.1, "groups": groups, "beta_1": 0.8}
    optimizer = _build.build_optimizer(task, given, 0.02, clip=0.25)
    assert isinstance(optimizer, GroupedAdamW)
    assert (optimizer.decay, optimizer.beta_1) == (0.1, 0.8)
    assert optimizer.group_of("lru/nu_log") == (0.5, 0.0)
    assert float(optimizer.learning_rate) == pytest.approx(0.02)
    assert optimizer.global_clipnorm == 0.25
    published = _build.build_optimizer(task, {"name": "sgd", "momentum": 0.9}, None, clip=True)
    assert (published.momentum, published.global_clipnorm) == (0.9, 1.0)


def test_everything_that_decides_is_recorded_and_resumes(tmp_path):
    """A run of all options, stopped and gone on with, ends as one that was not stopped."""
    options = {
        "layers": STACK,
        "optimizer": {"name": "grouped_adamw", "weight_decay": 0.1, "learning_rate": 0.02},
        "clip": 0.5,
        "average": 0.9,
        "patience": 10,
        "detach_epochs": 1,
        "limit": 25,
        "schedule": "plateau",
    }
    whole = train(tmp_path / "whole", 3, **options)
    train(tmp_path / "parts", 1, **options)
    parts = train(tmp_path / "parts", 3, **options)
    assert parts["curve"] == whole["curve"]
    assert parts["test"] == whole["test"]
    told = {name: whole["settings"][name] for name in ("average", "patience", "detach_epochs")}
    assert told == {"average": 0.9, "patience": 10, "detach_epochs": 1}
    assert whole["settings"]["limit"] == 25
    assert whole["optimizer"]["config"]["weight_decay"] == 0.1
    assert whole["optimizer"]["config"]["global_clipnorm"] == 0.5
    states = [checkpoints.load_arrays(tmp_path / f / "state.npz")[0] for f in ("whole", "parts")]
    for key, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][key])


def test_settings_that_an_old_run_did_not_have_are_their_defaults(tmp_path):
    train(tmp_path, 1, layer="lru", units=3)
    kept = checkpoints.load_arrays(tmp_path / "state.npz")[1]["described"]["settings"]
    assert kept == {"layer": "lru", "units": 3, "k1": None, "k2": None, "seed": 1}
    again = train(tmp_path, 2, layer="lru", units=3, average=None, patience=None, limit=None)
    assert again["parts"] == 2


def test_h_detach_ends_after_its_epochs(tmp_path):
    """p = 1 cuts all; after one epoch the gradient is whole, however often the run is stopped."""
    options = {"layer": "hdetach_lstm", "units": 4, "layer_options": {"p": 1.0}}
    ends = train(tmp_path / "ends", 2, detach_epochs=1, **options)
    never = train(tmp_path / "never", 2, **options)
    assert ends["curve"]["loss"][0] == never["curve"]["loss"][0]
    assert ends["curve"]["loss"][1] != never["curve"]["loss"][1]
    train(tmp_path / "parts", 1, detach_epochs=1, **options)
    parts = train(tmp_path / "parts", 2, detach_epochs=1, **options)
    assert parts["curve"] == ends["curve"]


def test_stops_without_a_better_epoch_and_stays_stopped(tmp_path):
    """A rate of almost 0: no epoch is better than the first, by the value or by its loss."""
    options = {"layer": "simple_rnn", "units": 3, "learning_rate": 1e-30, "patience": 2}
    record = train(tmp_path, 9, **options)
    assert (record["epochs"], record["best"]["epoch"]) == (3, 1)
    state = (tmp_path / "state.npz").read_bytes()
    again = train(tmp_path, 9, **options)
    assert (again["epochs"], again["parts"], again["test"]) == (3, 1, record["test"])
    assert (tmp_path / "state.npz").read_bytes() == state


def test_a_stopped_training_that_resumes_stops_where_it_would_have(tmp_path):
    options = {"layer": "simple_rnn", "units": 3, "learning_rate": 1e-30, "patience": 3}
    train(tmp_path, 2, **options)
    assert train(tmp_path, 9, **options)["epochs"] == 4


@pytest.mark.parametrize(
    ("losses", "stops"),
    [([3, 2, 1], []), ([1, 2, 2], [3]), ([3, 4, 2, 2, 5], [5]), ([2, 2, 1, 3, 3, 0], [5])],
)
def test_the_curve_decides(losses, stops, tmp_path):
    task = rnnzoo.tasks.get("copy", **SIZES)
    task.monitor, task.monitor_mode = "val_loss", "min"
    model = task.build_model(keras.layers.SimpleRNN(3))
    model.compile("adam", task.loss)
    run = RunFolder(model, task, tmp_path, None, "made by hand")
    run.begin()
    stopped = []
    for epoch, loss in enumerate(losses):
        run.finish_epoch(epoch, {"loss": 1.0, "val_loss": float(loss)}, 0.1)
        stopped += [epoch + 1] if run.stalled(2) else []
    assert stopped == stops


def test_a_quick_look_sees_the_first_sequences(tmp_path):
    record = train(tmp_path, layer="lru", units=3, limit=15)
    assert record["settings"]["limit"] == 15
    assert record["task"]["train_size"] == 40
    task, whole = (rnnzoo.tasks.get("copy", **SIZES, seed=1) for _ in range(2))
    task.keep(15)
    for split in ("train", "validation", "test"):
        assert task.size(split) == 15
        for one, other in zip(task.arrays(split), whole.arrays(split)):
            np.testing.assert_array_equal(one, other[:15])
    assert [len(x) for x, _ in task.train] == [10, 5]
    assert task.get_config() == whole.get_config()
    model = checkpoints.load_model(tmp_path / "best.keras")
    model.compile(loss=task.loss)
    x, y = whole.arrays("test")
    loss = model.evaluate(x[:15], y[:15], verbose=0)
    assert record["test"]["loss"] == pytest.approx(loss, rel=1e-5)
    task.keep(100)
    assert task.size("train") == 15


def test_a_quick_look_at_a_text_counts_tokens(real_data):
    task, whole = (
        rnnzoo.tasks.get(
            "tiny_shakespeare", batch_size=2, data_dir=str(real_data("tiny_shakespeare"))
        )
        for _ in range(2)
    )
    baseline = whole.baseline
    task.keep(70)
    assert task.size("train") == 70
    np.testing.assert_array_equal(task.tokens("test"), whole.tokens("test")[:70])
    assert task.arrays("train")[0].shape == (2, 35)
    assert task.vocabulary == whole.vocabulary
    assert task.baseline == baseline


def test_a_quick_look_at_sequences_of_many_lengths_spreads_over_them(real_data):
    folder = str(real_data("poly_music"))
    task, whole = (rnnzoo.tasks.get("jsb", data_dir=folder) for _ in range(2))
    task.keep(3)
    lengths = whole.lengths("train")
    assert task.lengths("train").tolist() == [lengths[0], lengths[114], lengths[228]]
    (x, y), *more = task.train
    assert not more
    assert x.shape == y.shape == (3, lengths[228], 88)


def test_the_recipe_is_told(tmp_path):
    train(tmp_path, layer="lru", units=3, recipe="some_name")
    assert json.loads((tmp_path / "metrics.json").read_text())["recipe"] == "some_name"
