"""TransformerEncoder: a small causal transformer of Keras's own layers, for comparison."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from rnnzoo import _checks
from rnnzoo.layers import _masks


@keras.saving.register_keras_serializable(package="rnnzoo")
class TransformerEncoder(keras.layers.Layer):
    r"""A causal transformer encoder, pre-normalised, built of Keras's attention and Dense layers.

    $$x = W_{in} u + P_t,\quad x \leftarrow x + \mathrm{MHA}(\mathrm{LN}\,x),\quad
      x \leftarrow x + W_2\,\mathrm{gelu}(W_1\,\mathrm{LN}\,x),\quad y = \mathrm{LN}\,x$$

    with `keras.layers.MultiHeadAttention` under its causal mask and a learned embedding $P_t$ of
    the position. It is here to compare with, and does not stream: what it needs of the past grows
    with time, so `rnnzoo.explicit_state` refuses it by name, and an export has no `step`.

    Args:
        units: Positive integer, the width; divisible by `heads`.
        levels: Positive integer (default 2), the number of blocks.
        heads: Positive integer (default 4).
        feed_forward: Positive integer, the inner width of each block's Dense pair; None (default):
            `4 * units`.
        max_length: Positive integer (default 1024): the positions that have an embedding. A longer
            sequence is refused.
        dropout: Number in [0, 1) (default 0), of attention weights and of each block's two
            additions to its input.
        seed: Non-negative integer or None, for the dropout.
        return_sequences: Boolean (default False): all outputs, or the last real one.
        **kwargs: `name`, `dtype`, `trainable`.

    Inputs `[B, T, F]`; outputs `[B, units]`, or `[B, T, units]` with `return_sequences`, in the
    compute dtype. A masked step is attended to by none. Its position counts, and its own output
    means nothing; so outputs at real steps do not depend on padding at the end, but do on the
    length of padding at the beginning. A row without any real step gives its first output.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type, and for a
            sequence longer than `max_length`; `InvalidArgumentError` for one in a graph that did
            not know its length.

    Sources: Vaswani et al., *Attention Is All You Need* (2017); pre-normalisation: Xiong et al.,
    *On Layer Normalization in the Transformer Architecture* (2020).

    >>> import numpy as np
    >>> layer = TransformerEncoder(8, heads=2, max_length=16, return_sequences=True)
    >>> layer(np.ones([2, 10, 3], "float32")).shape
    TensorShape([2, 10, 8])
    """

    def __init__(
        self,
        units: int,
        levels: int = 2,
        heads: int = 4,
        feed_forward: int | None = None,
        max_length: int = 1024,
        dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = _checks.integer("units", units)
        self.levels = _checks.integer("levels", levels)
        self.heads = _checks.integer("heads", heads)
        if self.units % self.heads:
            raise ValueError(
                f"`units` must be divisible by `heads`={self.heads}. Received: units={self.units}"
            )
        self.feed_forward = _checks.optional_integer("feed_forward", feed_forward)
        self.max_length = _checks.integer("max_length", max_length)
        self.dropout = _checks.real("dropout", dropout, 0.0, 1.0, high_open=True)
        self.seed = _checks.optional_integer("seed", seed, minimum=0)
        self.return_sequences = _checks.boolean("return_sequences", return_sequences)
        self.supports_masking = True
        same = {"dtype": self.dtype_policy}
        self.entry = keras.layers.Dense(units, name="entry", **same)
        self.positions = keras.layers.Embedding(max_length, units, name="positions", **same)
        self.blocks = [self._block(level) for level in range(levels)]
        self.norm = keras.layers.LayerNormalization(name="norm", **same)

    def _block(self, level):
        """[norm, attention, drop, norm, widen, narrow, drop] of one block."""
        units, rate, same = self.units, self.dropout, {"dtype": self.dtype_policy}
        seeds = [None if self.seed is None else self.seed + 3 * level + i for i in range(3)]
        layers = keras.layers
        return [
            layers.LayerNormalization(name=f"level{level}_norm1", **same),
            layers.MultiHeadAttention(
                self.heads,
                units // self.heads,
                dropout=rate,
                seed=seeds[0],
                name=f"level{level}_attention",
                **same,
            ),
            layers.Dropout(rate, seed=seeds[1], **same),
            layers.LayerNormalization(name=f"level{level}_norm2", **same),
            layers.Dense(
                self.feed_forward or 4 * units, "gelu", name=f"level{level}_widen", **same
            ),
            layers.Dense(units, name=f"level{level}_narrow", **same),
            layers.Dropout(rate, seed=seeds[2], **same),
        ]

    def build(self, input_shape):
        self._check(input_shape)
        batch, time, features = input_shape
        hidden = (batch, time, self.units)
        self.entry.build((batch, time, features))
        self.positions.build((time,))
        for norm1, attention, _, norm2, widen, narrow, _ in self.blocks:
            norm1.build(hidden)
            attention.build(hidden, hidden)
            norm2.build(hidden)
            widen.build(hidden)
            narrow.build((batch, time, self.feed_forward or 4 * self.units))
        self.norm.build(hidden)

    def call(self, sequences, mask=None, training=False):
        self._check(sequences.shape)
        time = self._steps(sequences)
        x = self.entry(sequences) + self._first_positions(time)
        seen = _masks.step_mask(mask)
        for norm1, attention, drop1, norm2, widen, narrow, drop2 in self.blocks:
            normed = norm1(x)
            attended = attention(
                normed,
                normed,
                attention_mask=None if seen is None else seen[:, None],
                use_causal_mask=True,
                training=training,
            )
            x = x + drop1(attended, training=training)
            x = x + drop2(narrow(widen(norm2(x))), training=training)
        x = self.norm(x)
        if self.return_sequences:
            return x
        if seen is None:
            return x[:, -1]
        steps = ops.arange(time)[None] * ops.cast(seen, "int32")
        last = ops.max(steps, axis=1)
        return ops.squeeze(ops.take_along_axis(x, last[:, None, None], axis=1), 1)

    def _steps(self, sequences):
        if sequences.shape[1] is not None:
            return sequences.shape[1]
        time = tf.shape(sequences)[1]
        words = f"`sequences` of {self.name} must have at most `max_length`={self.max_length} steps"
        few = time <= self.max_length
        with tf.control_dependencies(
            [tf.debugging.Assert(few, [f"{words}. Received: steps", time])]
        ):
            return tf.identity(time)

    def _first_positions(self, time):
        """Cut out, not looked up: the rows share them, and Keras keeps the gradient of a lookup as
        its summands, one for each replica, whose squares are not that of their sum."""
        table = self.positions.embeddings
        return ops.cast(ops.slice(table, (0, 0), (time, self.units)), self.compute_dtype)

    def _check(self, shape):
        if len(shape) != 3:
            raise ValueError(
                f"`sequences` of {self.name} must have the shape [batch, time, features]. "
                f"Received: sequences.shape={tuple(shape)}"
            )
        if shape[1] is not None and shape[1] > self.max_length:
            raise ValueError(
                f"`sequences` of {self.name} must have at most `max_length`={self.max_length} "
                f"steps. Received: sequences.shape={tuple(shape)}"
            )

    def compute_mask(self, inputs, previous_mask):
        return previous_mask if self.return_sequences else None

    def compute_output_shape(self, input_shape):
        batch, time, _ = input_shape
        return (batch, time, self.units) if self.return_sequences else (batch, self.units)

    def get_config(self):
        names = ("units", "levels", "heads", "feed_forward", "max_length", "dropout", "seed")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "return_sequences": self.return_sequences}
