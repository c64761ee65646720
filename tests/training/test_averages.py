"""Averages of weights: the definition, exact resume, and what is validated, kept and certified."""

import keras
import numpy as np
import pytest

import rnnzoo.tasks
from rnnzoo import certificates, checkpoints
from rnnzoo.layers import StableRNN
from rnnzoo.training import fit_resumable
from rnnzoo.training._averages import Averages

SIZES = {"delay": 3, "train_size": 40, "validation_size": 20, "test_size": 20, "batch_size": 10}


def make(layer=None, seed=7, optimizer=None):
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    task = rnnzoo.tasks.get("copy", **SIZES)
    model = task.build_model(layer or keras.layers.SimpleRNN(5, dropout=0.2))
    model.compile(optimizer or keras.optimizers.Adam(0.05), task.loss, metrics=task.metrics)
    return model, task


class Weights(keras.callbacks.Callback):
    """All weights after each batch."""

    def on_train_begin(self, logs=None):
        self.seen = [self.model.get_weights()]

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.get_weights())


def averaged(seen, decay):
    """The definition, in NumPy float64."""
    average = [w.astype("float64") for w in seen[0]]
    for n, weights in enumerate(seen[1:]):
        d = min(decay, (1 + n) / (10 + n))
        average = [d * a + (1 - d) * w for a, w in zip(average, weights)]
    return average


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three epochs of four batches, never stopped; the loss falls, so that the last one is best."""
    folder, weights = tmp_path_factory.mktemp("whole"), Weights()
    model, task = make()
    task.monitor, task.monitor_mode = "val_loss", "min"
    record = fit_resumable(model, task, 3, folder, callbacks=[weights], average=0.7)
    return model, task, record, folder, weights.seen


def test_averages_are_those_of_numpy(whole):
    _, _, record, folder, seen = whole
    assert len(seen) == 13
    assert record["best"]["epoch"] == 3
    kept = checkpoints.load_model(folder / "best.keras").get_weights()
    for one, expected, last in zip(kept, averaged(seen, 0.7), seen[-1], strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-6)
        assert np.abs(one - last).max() > 1e-3


def test_validation_scores_the_averages_and_training_goes_on_from_the_weights(whole):
    model, task, record, folder, seen = whole
    kept = checkpoints.load_model(folder / "best.keras")
    kept.compile(loss=task.loss, metrics=task.metrics)
    loss = kept.evaluate(task.validation, verbose=0)[0]
    assert record["curve"]["val_loss"][-1] == pytest.approx(loss, rel=1e-6)
    for one, last in zip(model.get_weights(), seen[-1], strict=True):
        np.testing.assert_array_equal(one, last)
    plain, _ = make()
    weights = Weights()
    plain.fit(
        rnnzoo.tasks.get("copy", **SIZES).train, shuffle=False, verbose=0, callbacks=[weights]
    )
    for one, other in zip(weights.seen[4], seen[4], strict=True):
        np.testing.assert_array_equal(one, other)


def test_resumed_averages_are_equal_bit_for_bit(whole, tmp_path):
    for epochs in (1, 3):
        model, task = make(seed=epochs)
        if epochs == 1:
            model, task = make()
        task.monitor, task.monitor_mode = "val_loss", "min"
        record = fit_resumable(model, task, epochs, tmp_path, average=0.7)
    assert record["parts"] == 2
    assert record["curve"] == whole[2]["curve"]
    states = [checkpoints.load_arrays(f / "state.npz")[0] for f in (whole[3], tmp_path)]
    assert sum(key.startswith("average_") for key in states[0]) == 5
    for key, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][key])
    with pytest.raises(ValueError, match=r"`settings\.average` is 0\.7\. .*average=0\.8"):
        fit_resumable(*make(), 3, tmp_path, average=0.8)
    with pytest.raises(ValueError, match=r"`settings\.average` is 0\.7\. .*average=None"):
        fit_resumable(*make(), 3, tmp_path)


def test_averages_of_a_stable_rnn_keep_its_certificate(tmp_path):
    """Orthogonal matrices of norm 0.9 at the start, pushed hard against the constraint."""
    layer = StableRNN(5, contraction=0.9)
    model, task = make(layer, optimizer=keras.optimizers.SGD(30.0))
    fit_resumable(model, task, 2, tmp_path, average=0.9)
    kept = checkpoints.load_model(tmp_path / "best.keras")
    certificate = certificates.certify(kept)
    assert certificate.problem is None
    (recurrent,) = [one for one in certificate.layers if one.kind == "StableRNN"]
    assert recurrent.contraction <= 0.9
    kernel = kept.layers[1].get_weights()[1]
    assert np.linalg.norm(kernel, 2) > 0.6


def test_what_is_not_allowed_is_projected_while_it_is_used():
    model, _ = make(StableRNN(5, contraction=0.9))
    averages = Averages(model, 0.5)
    before = model.get_weights()
    place = next(i for i, v in enumerate(averages.variables) if v.shape == (5, 5))
    averages.variables[place].assign(3.0 * np.eye(5, dtype="float32"))
    with averages.used():
        used = model.trainable_variables[place].numpy()
        assert np.linalg.norm(used, 2) == pytest.approx(0.9, abs=1e-5)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(averages.variables[place], 3.0 * np.eye(5))


@pytest.mark.parametrize("average", [1.0, -0.1])
def test_decay_out_of_range(average, tmp_path):
    with pytest.raises(ValueError, match=rf"`average` must be a number in \[0, 1\).*{average}"):
        fit_resumable(*make(), 1, tmp_path, average=average)
