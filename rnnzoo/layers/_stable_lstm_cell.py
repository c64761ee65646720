"""The cell of StableLSTM: an LSTM's, under the constraints that make its step a contraction."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rnnzoo.layers._gate_budgets import gate_budgets
from rnnzoo.layers._recurrent import Activation, Recurrent, named_by, refuse_number
from rnnzoo.layers._stable import ProjectedFromBuild, refuse
from rnnzoo.layers.constraints import ColumnL1, UpperBound, rounded_down

_WHY = "the contraction is held by constraints of its own"
_REFUSED = {
    "kernel_constraint": (_WHY, (None,)),
    "recurrent_constraint": (_WHY, (None,)),
    "bias_constraint": (_WHY, (None,)),
    "unit_forget_bias": ("a forget bias of 1 breaks the bound on the forget gate", (None, False)),
}
# What stands in a configuration for the constraints, which the bounds make again.
AS_GIVEN = {name: allowed[-1] for name, (_, allowed) in _REFUSED.items()}
OWN = ("contraction", "forget_bound", "input_bound", "implementation")


@keras.saving.register_keras_serializable(package="rnnzoo")
class StableLSTMCell(ProjectedFromBuild, keras.layers.LSTMCell):
    """One step of `StableLSTM`: clips its input, then `keras.layers.LSTMCell`.

    Args:
        units, contraction, forget_bound, input_bound: As in `StableLSTM`.
        activation, ..., seed: As in `keras.layers.LSTMCell`, in its order, as far as `StableLSTM`
            takes them.
        **kwargs: `name`, `dtype`, `trainable` and `implementation`.
    """

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = False,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        *,
        contraction: float = 0.95,
        forget_bound: float = 0.64,
        input_bound: float = 1.0,
        **kwargs: Any,
    ) -> None:
        arguments = named_by(super().__init__, locals()) | kwargs
        refuse_number(activation, "contraction")
        Recurrent.check_arguments(units, arguments)
        budgets = gate_budgets(contraction, forget_bound, input_bound)
        for name, (why, allowed) in _REFUSED.items():
            refuse(arguments, name, why, allowed)
        super().__init__(
            **arguments,
            unit_forget_bias=False,
            kernel_constraint=ColumnL1(budgets["input"]),
            recurrent_constraint=ColumnL1(budgets["recurrent"]),
            bias_constraint=UpperBound(budgets["bias"]),
        )
        for name, expected in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
            if getattr(self, name) is not keras.activations.get(expected):
                raise ValueError(
                    f"`{name}` must be {expected!r}: the bound is derived for it. "
                    f"Received: {name}={arguments[name]!r}"
                )
        self.contraction = float(contraction)
        self.forget_bound = float(forget_bound)
        self.input_bound = float(input_bound)

    def clip(self, inputs):
        """Inputs as the gates see them; a clipped entry gets no gradient."""
        bound = tf.constant(rounded_down(self.input_bound, inputs.dtype))
        return tf.clip_by_value(inputs, -bound, bound)

    def call(self, inputs, states, training=False):
        h, c = states
        # Under mixed precision the gates are float32, as the weights are.
        states = [h, tf.cast(c, self.variable_dtype)]
        _, states = super().call(self.clip(inputs), states, training=training)
        states = [tf.cast(s, self.compute_dtype) for s in states]
        return states[0], states

    def get_config(self):
        config = super().get_config() | AS_GIVEN
        return config | {name: getattr(self, name) for name in OWN}
