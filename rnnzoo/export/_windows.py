"""Truncated layers as recurrent ones, so that they stream.

In the modes `"chunk"` and `"gradient"` a `TruncatedWrapper` has the values of the layer that it
wraps. A window of k steps is a recurrence on its own last k - 1 inputs, as a convolution is.
"""

import keras
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.certificates._rewrite import Rewrite
from rnnzoo.layers._masks import step_mask
from rnnzoo.layers.truncated_wrapper import TruncatedWrapper
from rnnzoo.recurrences._packing import first


def streaming(model):
    """`model` with every truncated layer as a recurrent one of the same values at inference."""
    if not any(isinstance(la, TruncatedWrapper) for la in _keras.flat_layers(model)):
        return model
    return Rewrite(TruncatedWrapper, _recurrent, "streaming").model(model)


def _recurrent(wrapper):
    if wrapper.go_backwards or wrapper.return_state:
        raise ValueError(
            "A truncated layer streams without go_backwards and return_state. "
            f"Received: {wrapper.name!r} with one of them"
        )
    if wrapper.mode != "window":
        return wrapper.layer
    return Windows(
        WindowCell(wrapper),
        return_sequences=wrapper.return_sequences,
        zero_output_for_mask=wrapper.zero_output_for_mask,
        activity_regularizer=wrapper.activity_regularizer,
        name=wrapper.name,
        dtype=wrapper.dtype_policy,
    )


class WindowCell(keras.layers.Layer):
    """One step of a windowed layer; its state is the last k - 1 inputs, each with a 1 beside it.

    A place without an input is zero, so that the zero state is a beginning.
    """

    state_names = ("past",)

    def __init__(self, wrapper):
        super().__init__(name=f"{wrapper.name}_window", dtype=wrapper.dtype_policy)
        self.wrapper = wrapper
        self.last = _Last(wrapper.layer, wrapper.k, name=wrapper.name, dtype=wrapper.dtype_policy)
        self.features = _keras.last_input_shape(wrapper)[-1]
        self.span = max(wrapper.k - 1, 1)
        self.state_size = [self.span * (self.features + 1)]
        self.output_size = wrapper.compute_output_shape((None, None, self.features))[-1]
        self.built = True

    def call(self, inputs, states, training=False):
        known, past = self.known(inputs[:, None], states[0], None)
        return self.last.call(known[..., :-1], mask=known[..., -1] > 0, training=training), [past]

    def known(self, x, past, mask):
        """`[B, k - 1 + T, F + 1]`, the past before `x`; and the state after its last real step."""
        past = tf.reshape(past, [-1, self.span, self.features + 1])
        marks = tf.ones_like(x[..., :1]) if mask is None else tf.cast(mask, x.dtype)[..., None]
        # Zeros at masked steps: a beginning without real steps must leave the zero state.
        x = tf.where(marks > 0, x, tf.zeros_like(x))
        known = tf.concat([tf.cast(past, x.dtype), tf.concat([x, marks], -1)], 1)
        last = known
        if mask is not None:
            masked_first = first(known[..., -1] == 0)
            last = tf.gather(known, masked_first, batch_dims=1)
        last = last[:, tf.shape(last)[1] - self.span :]
        return known, tf.reshape(last, [-1, self.state_size[0]])


class Windows(keras.layers.RNN):
    """The layer over a `WindowCell`: all windows of a sequence at once.

    It lives inside an export and is never saved: its config holds the cell itself.
    """

    def inner_loop(self, sequences, initial_state, mask, training=False):
        cell, steps = self.cell, tf.shape(sequences)[1]
        mask = step_mask(mask)
        known, past = cell.known(sequences, tf.nest.flatten(initial_state)[0], mask)
        there = known[..., -1] > 0
        if not self.return_sequences:
            last = cell.last.call(known[..., :-1], mask=there, training=training)
            return last, last[:, None], [past]
        outputs = cell.wrapper.call(known[..., :-1], mask=there, training=training)
        outputs = outputs[:, tf.shape(outputs)[1] - steps :]
        return outputs[:, -1], outputs, [past]

    def get_config(self):
        names = ("return_sequences", "return_state", "zero_output_for_mask", "name")
        config = {name: getattr(self, name) for name in names}
        return {**config, "cell": self.cell, "dtype": self.dtype_policy}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class _Last(TruncatedWrapper):
    """The last window alone, whatever the wrapped layer returns."""

    return_sequences = False
