"""Perplexity and bits per character: exact, whatever the batches, weights and masks."""

import math

import keras
import numpy as np
import pytest

from rnnzoo.metrics.perplexity import BitsPerCharacter, Perplexity, TokenCrossEntropy

V = 7


def data():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 11, V)).astype("float32") * 3
    targets = rng.integers(0, V, (4, 11))
    weights = rng.integers(0, 3, (4, 11)).astype("float32")
    shifted = logits.astype(np.float64)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    nats = -np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    return logits, targets, weights, nats


@pytest.mark.parametrize("outputs", ["logits", "target_log_probability"])
def test_uneven_batches_and_weights(outputs):
    logits, targets, weights, nats = data()
    given = logits if outputs == "logits" else (-nats).astype("float32")
    mean = (nats * weights).sum() / weights.sum()
    perplexity, bits = Perplexity(outputs), BitsPerCharacter(outputs)
    for begin, end in ((0, 5), (5, 10), (10, 11)):
        part = targets[:, begin:end], given[:, begin:end], weights[:, begin:end]
        perplexity.update_state(*part)
        bits.update_state(*part)
    assert float(perplexity.result()) == pytest.approx(math.exp(mean), rel=1e-5)
    assert float(bits.result()) == pytest.approx(mean / math.log(2), rel=1e-5)
    perplexity.reset_state()
    assert float(perplexity.result()) == 1.0


def test_weights_of_rows_and_masks():
    logits, targets, _, nats = data()
    rows = np.array([1.0, 0.0, 2.0, 1.0], "float32")
    mean = (nats * rows[:, None]).sum() / (rows.sum() * nats.shape[1])
    for weight in (rows, rows[:, None]):
        metric = Perplexity()
        metric.update_state(targets, logits, weight)
        assert float(metric.result()) == pytest.approx(math.exp(mean), rel=1e-5)
    masked = keras.ops.convert_to_tensor(logits)
    mask = np.arange(11) < np.array([[3], [11], [0], [7]])
    masked._keras_mask = keras.ops.convert_to_tensor(mask)
    metric = Perplexity()
    metric.update_state(targets, masked)
    assert float(metric.result()) == pytest.approx(math.exp(nats[mask].mean()), rel=1e-5)


def test_a_target_of_no_weight_may_be_impossible():
    metric = Perplexity("target_log_probability")
    metric.update_state(np.zeros([1, 2]), np.array([[-1.0, -np.inf]]), np.array([[1.0, 0.0]]))
    assert float(metric.result()) == pytest.approx(math.e, rel=1e-6)


def test_loss_is_the_mean_over_tokens():
    logits, targets, weights, nats = data()
    mean = (nats * weights).sum() / weights.sum()
    assert float(TokenCrossEntropy()(targets, logits, weights)) == pytest.approx(mean, rel=1e-5)
    short = TokenCrossEntropy("target_log_probability")
    assert float(short(targets, -nats, weights)) == pytest.approx(mean, rel=1e-5)
    assert float(short(targets, -nats, weights * 0)) == 0.0


@pytest.mark.parametrize("kind", [Perplexity, BitsPerCharacter, TokenCrossEntropy])
def test_config(kind):
    made = kind("target_log_probability", name="mine")
    again = kind.from_config(made.get_config())
    assert (again.outputs, again.name) == ("target_log_probability", "mine")
    with pytest.raises(ValueError, match=r"`outputs` must be one of 'logits', .*outputs='probs'"):
        kind("probs")
