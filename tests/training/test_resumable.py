"""Exact resume: stopped and resumed training ends bit for bit as training that was not stopped."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo.tasks
from rnnzoo import checkpoints
from rnnzoo.layers import HDetachLSTM
from rnnzoo.training import _record
from rnnzoo.training._run_folder import RunFolder
from rnnzoo.training.resumable import NonFiniteLossError, evaluate_best, fit_resumable


class Interruption(Exception):
    """Stands for whatever ends a process."""


class StopAt(keras.callbacks.Callback):
    """Raises at a batch of an epoch (both from 0), or at the epoch's end."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.stop, self.epoch = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.stop:
            raise Interruption

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, None) == self.stop:
            raise Interruption


def make_task(**options):
    sizes = {"train_size": 40, "validation_size": 20, "test_size": 20, "batch_size": 10}
    return rnnzoo.tasks.get("copy", **{"delay": 3, **sizes, **options})


def make(seed=7, task=None, units=6, optimizer=None):
    """A fresh process would do the same: new names, new seeds, new model."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    task = task or make_task()
    layers = [
        HDetachLSTM(units, p=0.5, dropout=0.3),
        keras.layers.LSTM(units, dropout=0.3, recurrent_dropout=0.2),
    ]
    model = task.build_model(layers)
    model.compile(optimizer or keras.optimizers.Adam(1e-2), task.loss, metrics=task.metrics)
    return model, task


def make_small():
    """For what does not depend on the layer."""
    task = make_task()
    model = task.build_model(keras.layers.SimpleRNN(3))
    model.compile("adam", task.loss, metrics=task.metrics)
    return model, task


def everything(model, task):
    """All variables that a `RunFolder` keeps, found without it: weights, seeds, optimizer."""
    seeds = [model.layers[1].detach_seed_generator.state]
    found = [*model.variables, *seeds, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v) for v in found] + [np.array(task.epoch)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    model, task = make()
    record = fit_resumable(model, task, 4, folder, settings={"seed": 7})
    return everything(model, task), record, folder


def check_equal(uninterrupted, model, task, record, folder):
    variables, whole, whole_folder = uninterrupted
    for a, b in zip(variables, everything(model, task), strict=True):
        np.testing.assert_array_equal(a, b)
    assert record["curve"] == whole["curve"]
    assert record["best"] == whole["best"]
    assert record["parts"] == 2
    best = [checkpoints.load_model(f / "best.keras").get_weights() for f in (whole_folder, folder)]
    for a, b in zip(*best, strict=True):
        np.testing.assert_array_equal(a, b)


def test_curve_moves_and_seeds_advance(uninterrupted):
    """So that the equalities below say something."""
    variables, record, _ = uninterrupted
    model, task = make()
    model.optimizer.build(model.trainable_variables)
    fresh = everything(model, task)
    moved = [not np.array_equal(a, b) for a, b in zip(variables, fresh, strict=True)]
    seeds = [m for m, a in zip(moved, variables) if a.dtype.kind in "iu" and a.shape == (2,)]
    assert len(seeds) >= 3  # two layers' dropout and the detached steps
    assert sum(seeds) >= 3
    assert len(set(record["curve"]["loss"])) == 4


def test_two_calls_equal_one(uninterrupted, tmp_path):
    model, task = make()
    fit_resumable(model, task, 2, tmp_path, settings={"seed": 7})
    model, task = make(seed=8)  # what it starts from must not matter
    record = fit_resumable(model, task, 4, tmp_path, settings={"seed": 7})
    check_equal(uninterrupted, model, task, record, tmp_path)


def test_one_iterator_serves_all_epochs(tmp_path, monkeypatch):
    made, make_iterator = [], tf.data.Dataset.__iter__

    def counted(dataset):
        made.append(int(dataset.cardinality()))
        return make_iterator(dataset)

    model, task = make_small()
    monkeypatch.setattr(tf.data.Dataset, "__iter__", counted)
    record = fit_resumable(model, task, 3, tmp_path)
    assert len(record["curve"]["loss"]) == 3
    assert made.count(tf.data.INFINITE_CARDINALITY) == 1
    assert made.count(int(task.train.cardinality())) == 0  # of four batches; validation has two


@pytest.mark.parametrize("batch", [1, None], ids=["inside an epoch", "before its state is kept"])
def test_interruption_loses_one_epoch(uninterrupted, tmp_path, batch):
    model, task = make()
    with pytest.raises(Interruption):
        fit_resumable(model, task, 4, tmp_path, settings={"seed": 7}, callbacks=[StopAt(2, batch)])
    assert checkpoints.load_arrays(tmp_path / "state.npz")[1]["epoch"] == 2
    model, task = make(seed=8)
    record = fit_resumable(model, task, 4, tmp_path, settings={"seed": 7})
    check_equal(uninterrupted, model, task, record, tmp_path)


def test_crash_while_the_state_is_written(uninterrupted, tmp_path, monkeypatch):
    replace, writes = os.replace, []

    def crash(source, target):
        if str(target).endswith("state.npz"):
            writes.append(target)
            if len(writes) == 4:  # the first is of no epoch
                raise Interruption
        return replace(source, target)

    model, task = make()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", crash)
        with pytest.raises(Interruption):
            fit_resumable(model, task, 4, tmp_path, settings={"seed": 7})
    assert checkpoints.load_arrays(tmp_path / "state.npz")[1]["epoch"] == 2
    assert not list(tmp_path.glob("*.part*"))
    model, task = make()
    record = fit_resumable(model, task, 4, tmp_path, settings={"seed": 7})
    check_equal(uninterrupted, model, task, record, tmp_path)


def test_record_and_logs(uninterrupted):
    _, record, folder = uninterrupted
    assert json.loads((folder / "metrics.json").read_text()) == record
    assert record["epochs"] == 4
    assert record["parts"] == 1
    assert record["seed"] == 7
    assert record["task"]["delay"] == 3
    assert record["parameters"] == 4 * 6 * (1 + 6 + 1) + 4 * 6 * (6 + 6 + 1) + 7 * 9
    assert record["versions"]["keras"] == keras.__version__
    assert record["hardware"]["cores"] >= 1
    assert sum(record["epoch_seconds"]) == pytest.approx(record["wall_time_s"], abs=3e-3)
    scores = record["curve"]["val_recall_accuracy"]
    assert record["best"] == {
        "epoch": scores.index(max(scores)) + 1,
        "val_recall_accuracy": max(scores),
    }
    assert logged(folder / "logs" / "validation", "epoch_loss") == pytest.approx(
        record["curve"]["val_loss"], rel=1e-6
    )


def logged(folder, tag):
    """The scalars of a TensorBoard log, by step."""
    import tensorflow as tf

    points = {}
    for file in folder.iterdir():
        for raw in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(raw.numpy())
            for value in event.summary.value:
                if value.tag == tag:
                    points[event.step] = float(tf.make_ndarray(value.tensor))
    return [points[step] for step in sorted(points)]


def test_best_on_the_test_set(uninterrupted):
    _, _, folder = uninterrupted
    task = make_task()
    results = evaluate_best(task, folder)
    x, y = task.arrays("test")
    right = checkpoints.load_model(folder / "best.keras").predict(x, verbose=0).argmax(-1) == y
    assert results["recall_accuracy"] == pytest.approx(right[:, -10:].mean(), abs=1e-6)
    assert json.loads((folder / "metrics.json").read_text())["test"] == results


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {"seed": 8}}, r"`settings\.seed` is 7\. Received: settings\.seed=8"),
        ({"task": {"delay": 4}}, r"`task\.delay` is 3\. Received: task\.delay=4"),
        (
            {"optimizer": keras.optimizers.SGD(1e-2)},
            r"`optimizer\.class_name` is 'Adam'\. Received: optimizer\.class_name='SGD'",
        ),
        ({"units": 7}, r"`model\..*units` is 6\. Received: model\..*units=7"),
    ],
)
def test_other_settings_are_refused(uninterrupted, change, words):
    *_, folder = uninterrupted
    change = dict(change)
    settings = change.pop("settings", {"seed": 7})
    if "task" in change:
        change["task"] = make_task(**change["task"])
    model, task = make(**change)
    before = (folder / "state.npz").read_bytes()
    with pytest.raises(ValueError, match=words):
        fit_resumable(model, task, 4, folder, settings=settings)
    assert (folder / "state.npz").read_bytes() == before


def test_option_that_the_task_did_not_have_then_had_its_default(uninterrupted, tmp_path):
    """Nothing is left to train: the run is accepted, or refused where the option now differs."""
    *_, folder = uninterrupted
    arrays, kept = checkpoints.load_arrays(folder / "state.npz")
    assert kept["described"]["task"].pop("recalled") == 10
    checkpoints.save_arrays(tmp_path / "state.npz", arrays, kept)
    model, task = make()
    assert fit_resumable(model, task, 4, tmp_path, settings={"seed": 7})["epochs"] == 4
    model, task = make(task=make_task(recalled=9))
    with pytest.raises(ValueError, match=r"`task\.recalled` is 10\. Received: task\.recalled=9"):
        fit_resumable(model, task, 4, tmp_path, settings={"seed": 7})


def test_fewer_epochs_than_finished(uninterrupted):
    model, task = make()
    with pytest.raises(ValueError, match=r"`epochs` must be at least the 4 .*epochs=3"):
        fit_resumable(model, task, 3, uninterrupted[2], settings={"seed": 7})


def test_bad_arguments(tmp_path):
    model, task = make_small()
    with pytest.raises(ValueError, match=r"`epochs` must be an integer of at least 1.*epochs=0"):
        fit_resumable(model, task, 0, tmp_path)
    with pytest.raises(TypeError, match=r"`epochs` must be an integer\. Received: epochs=1\.5"):
        fit_resumable(model, task, 1.5, tmp_path)
    with pytest.raises(ValueError, match=r"`callbacks` must decide .*EarlyStopping"):
        fit_resumable(model, task, 1, tmp_path, callbacks=[keras.callbacks.EarlyStopping()])
    with pytest.raises(ValueError, match=r"`model` must be built and compiled.*'copy'"):
        fit_resumable(task.build_model(keras.layers.LSTM(2)), task, 1, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_foreign_and_damaged_folders(tmp_path):
    model, task = make_small()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "best.keras").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"`out_dir` must be empty .* has a best\.keras but no"):
        fit_resumable(model, task, 1, foreign)
    assert (foreign / "best.keras").read_bytes() == b"mine"
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "state.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(checkpoints.CheckpointError, match=r"damaged.state\.npz"):
        fit_resumable(model, task, 1, damaged)


class Overflow(keras.callbacks.Callback):
    """Makes a weight infinite after a batch (from 0) of the second epoch."""

    def __init__(self, batch):
        super().__init__()
        self.batch, self.epoch = batch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, self.batch):
            bias = self.model.layers[-1].bias
            bias.assign(bias + np.inf)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (1, r"loss=nan at step 3 of epoch 2; the best checkpoint, of epoch 1, is kept in .*best"),
        (3, r"val_loss=nan at the end of epoch 2; the best checkpoint, of epoch 1"),
    ],
    ids=["next step", "end of the epoch"],
)
def test_non_finite_loss_names_the_step(tmp_path, batch, words):
    model, task = make_small()
    with pytest.raises(NonFiniteLossError, match=words):
        fit_resumable(model, task, 4, tmp_path, callbacks=[Overflow(batch)])
    assert checkpoints.load_arrays(tmp_path / "state.npz")[1]["epoch"] == 1
    kept = checkpoints.load_model(tmp_path / "best.keras")
    assert all(np.isfinite(w).all() for w in kept.get_weights())


def test_monitor_that_is_not_there(tmp_path):
    model, task = make_small()
    task.monitor = "val_perplexity"
    with pytest.raises(ValueError, match=r"`monitor` of the task .* val_loss.*'val_perplexity'"):
        fit_resumable(model, task, 1, tmp_path)


def test_minimum_is_best_where_the_task_says_so(tmp_path):
    model, task = make_small()
    task.monitor, task.monitor_mode = "val_loss", "min"
    run = RunFolder(model, task, tmp_path, None, "made by hand")
    run.begin()
    for epoch, loss in enumerate([2.0, 1.0, 1.0, 3.0]):
        run.finish_epoch(epoch, {"loss": loss, "val_loss": loss}, 0.5)
    assert run.best == {"epoch": 2, "val_loss": 1.0}
    assert run.write_metrics()["command"] == "made by hand"


def test_of_equal_scores_the_epoch_of_least_loss_is_best(tmp_path):
    model, task = make_small()
    run = RunFolder(model, task, tmp_path, None, "made by hand")
    run.begin()
    scores = [(0.5, 0.1), (1.0, 0.3), (1.0, 0.2), (1.0, 0.4), (0.9, 0.0)]
    for epoch, (accuracy, loss) in enumerate(scores):
        logs = {"loss": 1.0, "val_loss": loss, "val_recall_accuracy": accuracy}
        run.finish_epoch(epoch, logs, 0.5)
    assert run.best == {"epoch": 3, "val_recall_accuracy": 1.0}


def test_first_difference():
    there = {"a": 1, "b": {"c": [1, {"d": None}]}}
    assert _record.first_difference(there, json.loads(json.dumps(there))) is None
    here = {"a": 1, "b": {"c": [1, {"d": 2}]}}
    assert _record.first_difference(there, here) == ("b.c.1.d", None, 2)
    assert _record.first_difference({"a": 1}, {"a": 1, "e": 0}) == ("e", None, 0)
    assert _record.first_difference({"a": [1, 2]}, {"a": [1]}) == ("a", [1, 2], [1])


def test_a_curve_is_one_line_of_a_record(tmp_path):
    content = {
        "a": {"curve": [1.5, None, "x"], "rows": [{"k": 1}, {}], "of": [[1, 2], []]},
        "b": [],
    }
    _record.write_json(tmp_path / "record.json", content)
    text = (tmp_path / "record.json").read_text()
    assert json.loads(text) == content
    assert '\n    "curve": [1.5, null, "x"],\n' in text
    assert '"of": [\n      [1, 2],\n      []\n    ]' in text
    assert '{\n        "k": 1\n      },' in text
