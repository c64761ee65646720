"""Learning-rate schedules: their values, and that a resumed training has the same ones."""

import json
import math

import keras
import numpy as np
import pytest

import rnnzoo.tasks
from rnnzoo import checkpoints, training
from rnnzoo.training import schedules
from rnnzoo.training.resumable import fit_resumable
from rnnzoo.training.schedules import Cosine, Inverse, InverseTime, Plateau

SIZES = {"delay": 3, "train_size": 40, "validation_size": 20, "test_size": 20, "batch_size": 10}


class Interruption(Exception):
    """Stands for whatever ends a process."""


class StopAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.stop, self.epoch = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.stop:
            raise Interruption


def fit(folder, schedule, epochs, *callbacks):
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    task = rnnzoo.tasks.get("copy", **SIZES)
    model = task.build_model(keras.layers.SimpleRNN(4))
    model.compile(keras.optimizers.Adam(schedule.learning_rate), task.loss, metrics=task.metrics)
    settings = {"schedule": schedule.settings()}
    record = fit_resumable(
        model, task, epochs, folder, settings=settings, callbacks=[schedule, *callbacks]
    )
    return record, [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]


def test_cosine_values():
    schedule = Cosine(2.0, epochs=4, batches=5, warmup=0.2, final=0.5)
    for epoch in range(4):
        for batch in range(5):
            s = (5 * epoch + batch) / 20
            expected = 0.5 + 1.5 * (
                s / 0.2 if s < 0.2 else (1 + math.cos(math.pi * (s - 0.2) / 0.8)) / 2
            )
            assert schedule.at_batch(epoch, batch) == pytest.approx(expected, rel=1e-12)
    assert schedule.at_batch(0, 0) == 0.5
    assert schedule.at_batch(0, 4) == 2.0


def test_plateau_compares_with_the_best_so_far():
    """Not with the epoch before: 5.2 is better than 5.5 and still no best."""
    schedule = Plateau(8.0, factor=2)
    losses = [5.0, 5.5, 5.2, 5.0, 4.0]
    rates = [schedule.at_epoch({"val_loss": losses[:n]}) for n in range(6)]
    assert rates == [8.0, 8.0, 4.0, 2.0, 1.0, 1.0]
    assert schedule.at_epoch({}) == 8.0


def test_inverse_time_is_counted_by_the_optimizer_and_serialized():
    """Three steps on a gradient of 1 move a weight by 1 + 1/2 + 1/3."""
    optimizer = keras.optimizers.SGD(InverseTime(2.0))
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    weight = keras.Variable(np.zeros(1))
    for _ in range(3):
        optimizer.apply([np.ones(1)], [weight])
    np.testing.assert_allclose(weight, [-2.0 * (1 + 1 / 2 + 1 / 3)], rtol=1e-6)


@pytest.mark.slow
def test_inverse_resumes_and_counts_the_strides_of_truncated_bptt(tmp_path):
    """More steps than the 4 batches of an epoch."""
    options = {"learning_rate": 0.5, "schedule": "inverse", "k1": 8}
    whole = train(tmp_path / "whole", 3, **options)
    train(tmp_path / "parts", 1, **options)
    longer = train(tmp_path / "parts", 3, **options)
    assert longer["curve"] == whole["curve"]
    assert longer["test"] == whole["test"]
    steps = [0.5 / rate for rate in longer["curve"]["learning_rate"]]
    np.testing.assert_allclose(steps, [steps[0], 2 * steps[0], 3 * steps[0]])
    assert steps[0] > 4
    assert longer["settings"]["schedule"] == {"name": "inverse", "learning_rate": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [lambda: Plateau(3.0, factor=3.0), lambda: Cosine(0.05, 4, 4, warmup=0.3)],
    ids=["plateau", "cosine"],
)
def test_interrupted_training_has_the_same_rates(tmp_path, make):
    whole, variables = fit(tmp_path / "whole", make(), 4)
    with pytest.raises(Interruption):
        fit(tmp_path / "parts", make(), 4, StopAt(2, 1))
    assert checkpoints.load_arrays(tmp_path / "parts" / "state.npz")[1]["epoch"] == 2
    resumed, again = fit(tmp_path / "parts", make(), 4)
    assert resumed["parts"] == 2
    assert resumed["curve"] == whole["curve"]
    assert len(set(whole["curve"]["learning_rate"])) > 1
    for a, b in zip(variables, again, strict=True):
        np.testing.assert_array_equal(a, b)
    best = [checkpoints.load_model(tmp_path / n / "best.keras") for n in ("whole", "parts")]
    for a, b in zip(*(model.get_weights() for model in best), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_rate_is_the_one_that_trains(tmp_path):
    """A rate divided by 1e30 at the first stall leaves the weights as they are from there on."""
    record, _ = fit(tmp_path, Plateau(3.0, factor=1e30), 5)
    rates, losses = record["curve"]["learning_rate"], record["curve"]["val_loss"]
    stalled = next(n for n, rate in enumerate(rates) if rate < 1e-20)
    assert stalled < 4
    assert len(set(losses[stalled - 1 :])) == 1
    expected = [Plateau(3.0, 1e30).at_epoch({"val_loss": losses[:n]}) for n in range(5)]
    assert rates == pytest.approx(expected)


def train(folder, epochs, **options):
    return training.train(
        "copy",
        "simple_rnn",
        out_dir=folder,
        epochs=epochs,
        units=4,
        seed=1,
        task_options=SIZES,
        **options,
    )


@pytest.mark.slow
def test_plateau_goes_on_under_truncated_bptt(tmp_path):
    options = {"learning_rate": 3.0, "schedule": "plateau", "k1": 8}
    whole = train(tmp_path / "whole", 4, **options)
    train(tmp_path / "parts", 2, **options)
    longer = train(tmp_path / "parts", 4, **options)
    assert longer["curve"] == whole["curve"]
    assert longer["test"] == whole["test"]
    assert longer["settings"]["schedule"] == {
        "name": "plateau",
        "learning_rate": 3.0,
        "factor": 4.0,
    }
    rates = longer["curve"]["learning_rate"]
    assert rates[-1] == 3.0 / 4 ** round(math.log(3.0 / rates[-1], 4)) < 3.0


def test_cosine_is_tied_to_its_epochs(tmp_path):
    record = train(tmp_path, 2, schedule="cosine", schedule_options={"warmup": 0.5}, depth=2)
    assert record["settings"]["schedule"]["epochs"] == 2
    assert record["settings"]["schedule"]["batches"] == 4
    assert record["settings"]["depth"] == 2
    assert record["parameters"] == 4 * (1 + 4 + 1) + 4 * (4 + 4 + 1) + 9 * 5
    words = r"`settings\.schedule\.epochs` is 2\. Received: settings\.schedule\.epochs=3"
    with pytest.raises(ValueError, match=words):
        train(tmp_path, 3, schedule="cosine", schedule_options={"warmup": 0.5}, depth=2)


def test_constant_is_not_a_setting(tmp_path):
    """Runs from before there were schedules go on."""
    train(tmp_path, 1)
    settings = json.loads((tmp_path / "metrics.json").read_text())["settings"]
    assert not {"schedule", "depth"} & set(settings)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: schedules.make("step", 1.0, 2, 3), r"`schedule` must be one of .*'step'"),
        (
            lambda: schedules.make("plateau", 1.0, 2, 3, {"warmup": 0.1}),
            r"`warmup` must be an option of the schedule plateau: one of factor\. .*warmup=0\.1",
        ),
        (
            lambda: schedules.make("constant", 1.0, 2, 3, {"factor": 2}),
            r"schedule constant: one of \(it has none\)",
        ),
        (lambda: Plateau(1.0, factor=1), r"`factor` must be a number in \(1, inf\].*factor=1"),
        (lambda: Plateau(0.0), r"`learning_rate` must be .*learning_rate=0\.0"),
        (lambda: Cosine(1.0, 2, 3, warmup=1.0), r"`warmup` must be .*warmup=1\.0"),
        (lambda: Cosine(1.0, 2, 3, final=1.5), r"`final` must be .*final=1\.5"),
        (lambda: Inverse(0.0), r"`learning_rate` must be .*learning_rate=0\.0"),
        (lambda: InverseTime(-1.0), r"`learning_rate` must be .*learning_rate=-1\.0"),
        (lambda: Cosine(1.0, 0, 3), r"`epochs` must be .*epochs=0"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(ValueError, match=words):
        call()
