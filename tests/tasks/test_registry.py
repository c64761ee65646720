"""The table of tasks says what the classes do, and wrong options are told."""

import importlib
import inspect
import json
import subprocess
import sys

import pytest

from rnnzoo import tasks

SMALL = {
    "copy": {"delay": 4, "train_size": 30, "validation_size": 20, "test_size": 10},
    "adding": {"length": 9, "train_size": 30, "validation_size": 20, "test_size": 10},
    "smnist": {"rows": True},
    "pmnist": {"downsample": 4, "permutation_seed": 3},
    "digits": {"rows": True},
    "transfer_copy": {"delay": 4, "delays": [5, 9], "train_size": 30, "one_hot": True},
    "teacher_student": {"nu_0": 0.5, "length": 20, "train_size": 30, "rho": 0.5},
    "jsb": {},
    "nottingham": {},
    "atis": {"window": 1, "dropout": 0.25},
}
TEXTS = ("ptb_word", "ptb_char", "wikitext2", "tiny_shakespeare")
SETS = {"jsb": "poly_music", "nottingham": "poly_music", "atis": "atis", "ptb_word": "ptb"}
SETS |= {"ptb_char": "ptb", "wikitext2": "wikitext-2", "tiny_shakespeare": "tiny_shakespeare"}
MEASURED = ("jsb", "nottingham", "atis", *TEXTS)  # whose baselines are computed from the data


def test_names():
    assert tasks.names() == (*SMALL, *TEXTS)
    with pytest.raises(ValueError, match=r"`name` must be one of 'copy', .* Received: name='copi'"):
        tasks.get("copi")


@pytest.mark.parametrize("name", tasks.names())
def test_table_states_the_defaults_of_the_class(name):
    module, _, attribute = tasks._CLASSES[name].partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    assert tasks.describe(name).options == {p.name: p.default for p in parameters.values()}
    task = tasks.get(name)
    assert task.name == name
    assert task.get_config() == {"name": name, **tasks.describe(name).options}
    assert str(tasks.describe(name)).startswith(f"{name}: ")


@pytest.mark.parametrize("name", tasks.names())
def test_config_through_json_makes_the_same_task(name):
    task = tasks.get(name, batch_size=7, seed=3, **SMALL.get(name, {}))
    again = tasks.get(**json.loads(json.dumps(task.get_config())))
    assert type(again) is type(task)
    assert again.get_config() == task.get_config()
    assert again.get_config()["batch_size"] == 7
    assert repr(task) == repr(again)


@pytest.mark.parametrize("name", tasks.names())
def test_monitor_names_a_metric_of_the_task(name, request):
    if name in MEASURED:
        request.getfixturevalue("real_data")(SETS[name])
    task = tasks.get(name, **SMALL.get(name, {}))
    reported = {"val_loss"} | {f"val_{metric.name}" for metric in task.metrics}
    assert task.monitor in reported
    assert task.monitor_mode in ("min", "max")
    assert {f"val_{key}" for key in task.baseline} == reported
    assert task.loss is not task.loss
    assert task.metrics[0] is not task.metrics[0]


def test_published_optimizer():
    optimizer = tasks.get("copy").optimizer()
    assert optimizer.name == "adam"
    assert float(optimizer.learning_rate) == pytest.approx(1e-3, rel=1e-6)
    assert (optimizer.global_clipnorm, optimizer.clipnorm) == (1.0, None)


def test_published_sizes():
    for name in ("copy", "adding", "transfer_copy"):
        assert (tasks.get(name).default_layer, tasks.get(name).default_units) == (
            "hdetach_lstm",
            128,
        )
    for name in ("smnist", "pmnist"):
        assert tasks.get(name).default_units == 100
    assert (tasks.get("teacher_student").default_layer, tasks.get("jsb").default_layer) == (
        "lru",
        "lstm",
    )
    assert (tasks.get("teacher_student").default_units, tasks.get("jsb").default_units) == (64, 200)


BAD = [
    ("copy", {"delay": 0}, ValueError, "`delay` must be an integer of at least 1. .*delay=0"),
    ("copy", {"delay": 1.5}, TypeError, "`delay` must be an integer. Received: delay=1.5"),
    ("copy", {"one_hot": 1}, TypeError, "`one_hot` must be True or False. Received: one_hot=1"),
    ("copy", {"train_size": 0}, ValueError, "`train_size` must be .*Received: train_size=0"),
    ("copy", {"validation_size": -5}, ValueError, "`validation_size` .*validation_size=-5"),
    ("copy", {"test_size": "9"}, TypeError, "`test_size` .*test_size='9'"),
    ("copy", {"batch_size": 0}, ValueError, "`batch_size` .*batch_size=0"),
    ("copy", {"batch_size": True}, TypeError, "`batch_size` .*batch_size=True"),
    ("copy", {"seed": -1}, ValueError, "`seed` must be an integer of at least 0. .*seed=-1"),
    ("copy", {"seed": None}, TypeError, "`seed` must be an integer. Received: seed=None"),
    ("copy", {"dealy": 5}, ValueError, "`dealy` must be an option of the task copy: one of delay"),
    ("adding", {"length": 1}, ValueError, "`length` must be an integer of at least 2. .*length=1"),
    ("adding", {"markers": "ends"}, ValueError, "`markers` must be one of 'anywhere', 'halves'"),
    ("adding", {"delay": 5}, ValueError, "`delay` must be an option of the task adding"),
    ("smnist", {"downsample": 3}, ValueError, "`downsample` must be one of 1, 2, 4, 7, 14. .*=3"),
    ("smnist", {"downsample": 0}, ValueError, "`downsample` .*downsample=0"),
    ("smnist", {"downsample": 2.0}, TypeError, "`downsample` must be an integer. .*2.0"),
    ("smnist", {"rows": None}, TypeError, "`rows` must be True or False. Received: rows=None"),
    ("smnist", {"data_dir": 5}, TypeError, "`data_dir` must be a path or None. .*data_dir=5"),
    ("smnist", {"data_dir": ""}, TypeError, "`data_dir` must be a path or None. .*data_dir=''"),
    ("smnist", {"permutation_seed": 1}, ValueError, "must be an option of the task smnist"),
    ("pmnist", {"permutation_seed": -1}, ValueError, "`permutation_seed` must be .* at least 0"),
    ("pmnist", {"permutation_seed": 2**32}, ValueError, "`permutation_seed` .* at most 4294967295"),
]


@pytest.mark.parametrize(("name", "options", "error", "words"), BAD)
def test_bad_options_are_told(name, options, error, words):
    with pytest.raises(error, match=words):
        tasks.get(name, **options)


def test_bad_split_and_epoch_are_told():
    task = tasks.get("copy", **SMALL["copy"])
    with pytest.raises(ValueError, match=r"`split` must be one of 'train', .* split='dev'"):
        task.arrays("dev")
    with pytest.raises(ValueError, match=r"`epoch` must be an integer of at least 0. .*epoch=-1"):
        task.epoch = -1
    with pytest.raises(TypeError, match=r"`epoch` must be an integer. Received: epoch=0.5"):
        task.epoch = 0.5


def test_listing_needs_no_tensorflow():
    code = (
        "import sys, rnnzoo.tasks as t; [str(t.describe(n)) for n in t.names()];"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
