"""F1 over labelled spans, by the definition of the CoNLL shared tasks."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from rnnzoo import _keras

OUTSIDE = "O"


@keras.saving.register_keras_serializable(package="rnnzoo")
class SpanF1(keras.metrics.Metric):
    """The F1 of labelled spans, exact over all batches.

        F1 = 2 * right / (spans in the targets + spans predicted)

    A span is a longest run of words under one type: it begins at ``B-x``, and at an ``I-x`` that
    follows ``O``, another type, or nothing. It is right if both its borders and its type are. This
    is what the CoNLL evaluation script counts, and seqeval in its default mode. The counts of all
    batches are added up before the division.

    Args:
        labels: the names of the classes in their order, each "O", "B-x" or "I-x".
        name: the metric's name (default "f1").
        dtype: as for any Keras metric.

    Shapes: targets `[B, T]` (integers; negative: no word), predictions `[B, T, classes]` (any
    scores: the largest counts). Masked steps are no words. Each row must be a whole sentence.

    Raises:
        ValueError: for a label of another form, or a twice given one; for sample weights, which
            have no meaning for spans.

    Source: Tjong Kim Sang & Buchholz, *Introduction to the CoNLL-2000 Shared Task: Chunking*.

    >>> import numpy as np
    >>> from rnnzoo.metrics.span_f1 import SpanF1
    >>> metric = SpanF1(["O", "B-city", "I-city"])
    >>> metric.update_state(np.array([[1, 2, 0, 1]]), np.eye(3)[[[1, 2, 0, 0]]])
    >>> round(float(metric.result()), 4)  # one of two found, nothing else claimed
    0.6667
    """

    def __init__(
        self, labels: Sequence[str], name: str = "f1", dtype: str | keras.DTypePolicy | None = None
    ):
        super().__init__(name=name, dtype=dtype)
        self.labels = [_checked(label) for label in labels]
        if len(set(self.labels)) < len(self.labels) or not self.labels:
            raise ValueError(
                "`labels` must be at least one name, and none twice. "
                f"Received: labels={self.labels!r}"
            )
        kinds = sorted({label[2:] for label in self.labels if label != OUTSIDE})
        self._types = [
            0 if label == OUTSIDE else 1 + kinds.index(label[2:]) for label in self.labels
        ]
        self._begins = [label.startswith("B-") for label in self.labels]
        self.right = self.add_weight(name="right", initializer="zeros")
        self.wanted = self.add_weight(name="wanted", initializer="zeros")
        self.claimed = self.add_weight(name="claimed", initializer="zeros")
        _keras.set_direction(self, "up")

    def update_state(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError(
                "`sample_weight` must be None: a span has no weight. "
                f"Received: sample_weight={type(sample_weight).__name__}"
            )
        mask = _keras.mask_of(y_pred)
        y_true = tf.cast(y_true, tf.int32)
        words = y_true >= 0 if mask is None else (y_true >= 0) & tf.cast(mask, tf.bool)
        wanted = self._spans(y_true, words)
        claimed = self._spans(tf.argmax(y_pred, -1, tf.int32), words)
        self.wanted.assign_add(self._count(wanted[1]))
        self.claimed.assign_add(self._count(claimed[1]))
        self.right.assign_add(self._count(wanted[1]) - self._wrong(wanted, claimed))

    def result(self):
        return tf.math.divide_no_nan(2 * self.right, self.wanted + self.claimed)

    def get_config(self):
        return {"labels": self.labels, "name": self.name, "dtype": self.dtype}

    def _spans(self, classes, words):
        """For each word its type (0: outside), whether a span begins, and whether one ends."""
        classes = tf.where(words, classes, 0)
        types = tf.where(words, tf.gather(tf.constant(self._types), classes), 0)
        begins = words & tf.gather(tf.constant(self._begins), classes)
        nothing = tf.zeros_like(types[:, :1])
        before = tf.concat([nothing, types[:, :-1]], axis=1)
        after = tf.concat([types[:, 1:], nothing], axis=1)
        inside = types > 0
        starts = inside & (begins | (types != before))
        next_begins = tf.concat([begins[:, 1:], tf.cast(nothing, tf.bool)], axis=1)
        ends = inside & (next_begins | (types != after))
        return types, starts, ends

    def _wrong(self, wanted, claimed):
        """How many wanted spans differ from what is claimed at any of their words.

        If types, starts and ends agree at every word of a span, the same span is claimed.
        """
        types, starts, _ = wanted
        pairs = zip(wanted, claimed)
        differ = tf.reduce_any(tf.stack([a != b for a, b in pairs]), axis=0) & (types > 0)
        numbers = tf.cumsum(tf.reshape(tf.cast(starts, tf.int32), [-1]))  # of the span of a word
        differ = tf.reshape(tf.cast(differ, tf.int32), [-1])
        found = tf.math.unsorted_segment_max(differ, numbers, tf.size(numbers) + 1)
        return self._count(found > 0)

    def _count(self, flags):
        return tf.reduce_sum(tf.cast(flags, self.dtype))


def _checked(label):
    if label == OUTSIDE or (isinstance(label, str) and label[:2] in ("B-", "I-") and label[2:]):
        return label
    raise ValueError(f"`labels` must be O, B-x or I-x. Received: {label!r}")
