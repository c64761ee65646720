"""SpanF1 against an independent count of spans, sentence by sentence."""

import numpy as np
import pytest
import tensorflow as tf
from references import conll

from rnnzoo.metrics.span_f1 import SpanF1

LABELS = ["O", "B-a", "I-a", "B-b", "I-b", "I-only"]


def names(classes):
    return [LABELS[c] for c in classes]


def scores(classes):
    """Scores whose largest is at `classes`, and negative elsewhere, so that 0 is no answer."""
    return np.where(np.arange(len(LABELS)) == np.asarray(classes)[..., None], -1.0, -5.0)


def test_equals_the_reference_over_batches_of_many_lengths():
    rng = np.random.default_rng(3)
    metric = SpanF1(LABELS)
    update = tf.function(lambda y, p: metric.update_state(y, p))  # as in fit
    wanted, claimed = [], []
    for _ in range(40):
        rows, steps = rng.integers(1, 9), rng.integers(1, 12)
        y = rng.integers(0, len(LABELS), [rows, steps])
        guess = np.where(rng.random(y.shape) < 0.75, y, rng.integers(0, len(LABELS), y.shape))
        lengths = rng.integers(1, steps + 1, rows)
        for row, length in enumerate(lengths):
            wanted.append(names(y[row, :length]))
            claimed.append(names(guess[row, :length]))
            y[row, length:] = -1
        update(y, scores(guess))
    assert float(metric.right) > 100
    assert float(metric.result()) == pytest.approx(conll.f1(wanted, claimed), rel=1e-6)
    every = [conll.spans(w) for w in wanted]
    assert float(metric.wanted) == sum(map(len, every))
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_equals_seqeval():
    reason = "seqeval, which is built from source, is not installed: pip install seqeval"
    seqeval = pytest.importorskip("seqeval.metrics", reason=reason)
    rng = np.random.default_rng(5)
    metric = SpanF1(LABELS)
    wanted, claimed = [], []
    for _ in range(300):
        y = rng.integers(0, len(LABELS), rng.integers(1, 12))
        guess = np.where(rng.random(y.shape) < 0.75, y, rng.integers(0, len(LABELS), y.shape))
        wanted.append(names(y))
        claimed.append(names(guess))
        metric.update_state(y[None], scores(guess[None]))
    assert float(metric.right) > 100
    assert float(metric.result()) == pytest.approx(seqeval.f1_score(wanted, claimed), rel=1e-6)


# (targets, predictions, right, wanted, claimed)
CASES = [
    ("O O O", "O O O", 0, 0, 0),
    ("B-a I-a O", "B-a I-a O", 1, 1, 1),
    ("B-a I-a I-a", "B-a I-a O", 0, 1, 1),  # too short
    ("B-a I-a O", "B-a I-a I-a", 0, 1, 1),  # too long
    ("B-a B-a O", "B-a I-a O", 0, 2, 1),
    ("B-a I-a O", "B-a B-a O", 0, 1, 2),
    ("I-a I-a O", "B-a I-a O", 1, 1, 1),  # a span may begin with I
    ("B-a I-b O", "B-a B-b O", 2, 2, 2),  # another type begins another span
    ("B-a O B-b", "B-b O B-b", 1, 2, 2),
    ("O B-a I-a", "B-a I-a I-a", 0, 1, 1),  # too early
]


@pytest.mark.parametrize(("wanted", "claimed", "right", "n", "m"), CASES)
def test_borders_and_types(wanted, claimed, right, n, m):
    metric = SpanF1(LABELS)
    y, p = ([LABELS.index(tag) for tag in text.split()] for text in (wanted, claimed))
    metric.update_state(np.array([y]), scores([p]))
    assert [float(v) for v in (metric.right, metric.wanted, metric.claimed)] == [right, n, m]


def test_padding_and_masked_words_are_outside():
    metric = SpanF1(LABELS)
    metric.update_state(np.array([[1, 2, -1, -1]]), scores([[1, 2, 2, 1]]))
    assert [float(v) for v in (metric.right, metric.wanted, metric.claimed)] == [1, 1, 1]
    metric.reset_state()
    predictions = tf.constant(scores([[1, 2, 2, 1]]))
    predictions._keras_mask = tf.constant([[True, True, False, False]])
    metric.update_state(np.array([[1, 2, 2, 1]]), predictions)
    assert [float(v) for v in (metric.right, metric.wanted, metric.claimed)] == [1, 1, 1]


def test_config_makes_the_same_metric():
    again = SpanF1.from_config(SpanF1(LABELS, name="slot_f1").get_config())
    assert (again.labels, again.name) == (LABELS, "slot_f1")


def test_bad_calls_are_told():
    with pytest.raises(ValueError, match=r"`labels` must be O, B-x or I-x. Received: 'a-B'"):
        SpanF1(["O", "a-B"])
    with pytest.raises(ValueError, match=r"`labels` must be at least one .*\['O', 'O'\]"):
        SpanF1(["O", "O"])
    with pytest.raises(ValueError, match=r"`sample_weight` must be None.*=[a-z]"):
        SpanF1(LABELS).update_state(np.array([[1]]), scores([[1]]), sample_weight=[1.0])
