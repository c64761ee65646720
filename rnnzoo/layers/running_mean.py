"""RunningMean: the mean over the steps so far, as a recurrent layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rnnzoo.layers._linear import FullPrecisionCell, FullPrecisionRecurrent
from rnnzoo.layers._masks import real_steps
from rnnzoo.layers._recurrent import shared


@keras.saving.register_keras_serializable(package="rnnzoo")
class RunningMeanCell(FullPrecisionCell):
    """One step of a `RunningMean`: `[B, units]` and `[sum, count]` to the mean and new states."""

    state_names = ("sum", "count")

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.state_size = [self.units, 1]

    def build(self, input_shape):
        if input_shape[-1] != self.units:
            raise ValueError(
                "`units` of a RunningMean must be the number of its inputs' features. "
                f"Received: units={self.units}, inputs of shape {tuple(input_shape)}"
            )

    def call(self, inputs, states, training=False):
        total, count = (tf.cast(s, self.state_dtype) for s in states)
        new = [total + tf.cast(inputs, self.state_dtype), count + 1.0]
        mean = tf.cast(tf.math.divide_no_nan(*new), self.compute_dtype)
        return mean, [tf.cast(v, s.dtype) for v, s in zip(new, states)]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="rnnzoo")
class RunningMean(FullPrecisionRecurrent):
    r"""The mean over the steps so far: a pooling that streams.

    $$s_t = s_{t-1} + x_t,\qquad n_t = n_{t-1} + 1,\qquad y_t = s_t / n_t$$

    With `return_sequences=False` the output is the mean over the whole sequence, by one reduction:
    what `keras.layers.GlobalAveragePooling1D` gives, with a state.

    Args:
        units: Positive integer, the number of the inputs' features.
        **kwargs: The arguments of `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `zero_output_for_mask`, `name`, `dtype` ...;
            `unroll=True` is refused.

    The layer has no weights.

    Inputs `[B, T, units]`; outputs `[B, units]`, or `[B, T, units]` with `return_sequences`, in the
    compute dtype. States: the sum `[B, units]` and the count `[B, 1]`, float32 under mixed
    precision. A masked step does not count: the states are carried and the output repeated. A row
    without any real step gives zeros, with zero gradients.

    A certificate takes the layer for a pooling over time, which hands an error on no larger than it
    is; it is no recurrence that forgets.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type, and for inputs
            of another width.

    Source: the definition of the mean.

    >>> import numpy as np
    >>> layer = RunningMean(1, return_sequences=True)
    >>> layer(np.float32([[[1.0], [3.0], [5.0]]])).numpy().ravel().tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        cell = RunningMeanCell(units, name="running_mean_cell", **shared(kwargs))
        super().__init__(cell, **kwargs)

    def recur(self, sequences, initial_state, mask, training):
        total, count = initial_state
        x, real = self._counted(sequences, mask)
        totals = total[:, None] + tf.cumsum(x, axis=1)
        counts = count[:, None] + tf.cumsum(real, axis=1)
        states = [total + tf.reduce_sum(x, axis=1), count + tf.reduce_sum(real, axis=1)]
        return tf.math.divide_no_nan(totals, counts), states

    def recur_last(self, sequences, initial_state, mask, training):
        x, real = self._counted(sequences, mask)
        states = [s + tf.reduce_sum(v, axis=1) for s, v in zip(initial_state, (x, real))]
        last = tf.math.divide_no_nan(*states)
        if mask is None and not sequences.shape[1]:  # perhaps no step, and then no output but zeros
            last *= tf.cast(tf.shape(sequences)[1] > 0, last.dtype)
        return last, states

    def _counted(self, sequences, mask):
        """The steps with zeros at the masked ones, and 1 at each real one, `[B, T, 1]`."""
        x = tf.cast(real_steps(sequences, mask), self.cell.state_dtype)
        real = tf.ones_like(x[..., :1]) if mask is None else tf.cast(mask[..., None], x.dtype)
        return x, real
