"""What the layers with a linear state share: LRU, ComplexRNN, LinearRNN, LRUBlock, RunningMean.

A linear state has no activation to bring it back into range and may sum over thousands of steps.
So the states, and the arithmetic on them, are float32 where the compute dtype is half, between
calls too; and a masked step's output, which is no state, repeats the last real one's.
"""

import math

import keras
import tensorflow as tf

from rnnzoo import _checks, _keras
from rnnzoo.layers._recurrent import HALF_PRECISION, OverCell
from rnnzoo.recurrences import _forms


class FullPrecisionCell(keras.layers.Layer):
    """Base of cells whose states are float32 under half precision; a subclass sets `state_size`."""

    def __init__(self, units, **kwargs):
        units = _checks.integer("units", units)
        # Without autocast, because the states that come in are to stay in full precision.
        super().__init__(autocast=False, **kwargs)
        self.units = self.output_size = units
        half = tf.as_dtype(self.variable_dtype) in HALF_PRECISION
        self.state_dtype = "float32" if half else self.variable_dtype

    def get_initial_state(self, batch_size=None):
        """Zeros, `[batch_size, n]` for each state."""
        return [keras.ops.zeros((batch_size, n), dtype=self.state_dtype) for n in self.state_size]


class LinearCell(FullPrecisionCell):
    """Base of the linear cells: sizes, seeds, weights; a subclass sets `state_size` last."""

    def __init__(self, units, state_size, seed, **kwargs):
        units = _checks.integer("units", units)
        given_state_size = _checks.optional_integer("state_size", state_size)
        seed = _checks.optional_integer("seed", seed, minimum=0)
        super().__init__(units, **kwargs)
        self.given_state_size = given_state_size
        self.seed = seed
        self.n = units if given_state_size is None else given_state_size

    def _features(self, input_shape):
        features = input_shape[-1]
        if features is None:
            kind = type(self).__name__.removesuffix("Cell")
            raise ValueError(
                f"The last axis of the inputs of {kind} must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        return features

    def _seed(self, offset):
        return None if self.seed is None else self.seed + offset

    def _normal(self, name, shape, variance, offset):
        deviation = math.sqrt(variance)
        initializer = keras.initializers.RandomNormal(0.0, deviation, seed=self._seed(offset))
        return self._weight(name, shape, initializer)

    def _skip(self, features, offset):
        """D: a vector where the inputs are as wide as the outputs, else a matrix."""
        if self.units == features:
            return self._normal("D", (features,), 1.0, offset)
        return self._normal("D", (self.units, features), 1.0 / features, offset)

    def _weight(self, name, shape, initializer, constraint=None):
        def admissible(shape, dtype=None):
            value = initializer(shape, dtype=dtype)
            return value if constraint is None else constraint(value)

        return self.add_weight(
            name=name, shape=shape, initializer=admissible, constraint=constraint, autocast=False
        )

    def get_config(self):
        own = {"units": self.units, "state_size": self.given_state_size, "seed": self.seed}
        return {**super().get_config(), **own}


class FullPrecisionRecurrent(_keras.FullPrecisionStates, OverCell):
    """The layer over a `FullPrecisionCell`; a subclass makes it and defines `recur`."""

    def __init__(self, cell, **kwargs):
        # Without autocast, because states given from outside are to stay in full precision.
        super().__init__(cell, autocast=False, **kwargs)

    def call(self, sequences, initial_state=None, mask=None, training=False):
        # Keras's own would pass the states through the compute dtype, which may be half.
        self._check_call(sequences, initial_state, mask)
        if self.stateful:
            self._check_stateful_batch(sequences)
        if initial_state is None:
            batch = tf.shape(sequences)[0]
            initial_state = self.states if self.stateful else self.get_initial_state(batch)
        dtype = self.cell.state_dtype
        last, outputs, states = self.inner_loop(
            sequences,
            [tf.cast(tf.convert_to_tensor(s), dtype) for s in tf.nest.flatten(initial_state)],
            mask,
            training=training,
        )
        if self.stateful:
            for variable, state in zip(self.states, states):
                variable.assign(state)
        result = tf.cast(outputs if self.return_sequences else last, self.compute_dtype)
        return (result, *states) if self.return_state else result

    def _check_stateful_batch(self, sequences):
        expected, received = self.stateful_batch, sequences.shape[0]
        if None not in (expected, received) and expected != received:
            raise ValueError(
                f"The batch of {self.name} must stay {expected}, as at build, because it is "
                f"stateful. Received: sequences.shape={tuple(sequences.shape)}"
            )

    def compute_output_spec(self, *args, **kwargs):
        spec = super().compute_output_spec(*args, **kwargs)
        if not self.return_state:
            return spec
        states = (keras.KerasTensor(s.shape, dtype=self.cell.state_dtype) for s in spec[1:])
        return (spec[0], *states)


class LinearRecurrent(FullPrecisionRecurrent):
    """The layer over a `LinearCell`."""

    def _last_form_for(self, inputs, training):
        """What to ask for where the last of the states of `inputs [B, T, F]` alone is wanted."""
        if self.form == "auto" and _forms.powers_pay(inputs):
            return "powers"
        return self._form_for(training)

    def eigenvalues(self):
        """The recurrence's eigenvalues as a complex128 NumPy array `[N]`, from the weights."""
        return self.cell.eigenvalues()

    def get_config(self):
        return {**super().get_config(), "form": self.form}
