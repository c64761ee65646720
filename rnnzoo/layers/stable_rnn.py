"""StableRNN: a simple RNN whose step is a contraction."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.activations import facts, named
from rnnzoo.layers._recurrent import (
    Activation,
    Recurrent,
    cell_loop,
    full_precision,
    named_by,
    refuse_number,
    shared,
)
from rnnzoo.layers._stable import ProjectedFromBuild, refuse, stored_weights
from rnnzoo.layers._twin_files import HintsAtTwin
from rnnzoo.layers.constraints import SpectralNorm, spectral_norm_slack
from rnnzoo.recurrences.simple_rnn import simple_rnn


def lipschitz(activation):
    """The Lipschitz constant of a Keras activation on each unit alone; a `ValueError` without."""
    known = facts(keras.activations.get(activation))
    if known.elementwise and known.lipschitz is not None:
        return known.lipschitz
    names = ", ".join(named(lambda fact: fact.elementwise and fact.lipschitz is not None))
    raise ValueError(
        f"`activation` must have a known Lipschitz constant: one of {names}. "
        f"Received: activation={activation!r}"
    )


@keras.saving.register_keras_serializable(package="rnnzoo")
class StableRNNCell(ProjectedFromBuild, keras.layers.SimpleRNNCell):
    """One step of `StableRNN`; its weights are those of `keras.layers.SimpleRNNCell`.

    Args:
        units, activation, contraction: As in `StableRNN`.
        use_bias, ..., seed: As in `keras.layers.SimpleRNNCell`, in its order;
            `recurrent_constraint` is taken.
        **kwargs: `name`, `dtype` and `trainable`.
    """

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
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
        **kwargs: Any,
    ) -> None:
        arguments = named_by(super().__init__, locals()) | kwargs
        refuse_number(activation, "contraction")
        Recurrent.check_arguments(units, arguments)
        contraction = _checks.real("contraction", contraction, 0.0, 1.0, True, True)
        why = "the contraction is held by a constraint of its own"
        refuse(arguments, "recurrent_constraint", why)
        bound = contraction / lipschitz(activation)
        super().__init__(**arguments, recurrent_constraint=SpectralNorm(bound))
        self.contraction = contraction

    def call(self, sequence, states, training=False):
        output, _ = super().call(sequence, states, training=training)
        output = tf.cast(output, self.compute_dtype)
        return output, [output] if isinstance(states, (list, tuple)) else output

    def get_config(self):
        config = super().get_config()
        return {**config, "recurrent_constraint": None, "contraction": self.contraction}


@keras.saving.register_keras_serializable(package="rnnzoo")
class StableRNN(HintsAtTwin, Recurrent, keras.layers.SimpleRNN):
    r"""A simple RNN whose recurrent matrix is kept so small that every step is a contraction.

    $$h_t = \rho(x_t W + h_{t-1} U + b), \qquad \|U\|_2 \le \lambda / L_\rho$$

    with $\lambda$ = `contraction` and $L_\rho$ the Lipschitz constant of the activation. So
    $\|h_t - h'_t\|_2 \le \lambda \|h_{t-1} - h'_{t-1}\|_2$ for any two states and the same input.
    A projection (singular values above the bound are clipped) holds it from `build` on and after
    every optimizer step; weights loaded or set by hand are taken as they are, and `contraction()`
    says what they give.

    By position the arguments are those of `keras.layers.SimpleRNN`; those of this layer's own are
    given by name.

    Args:
        units: Positive integer, the size `H` of the state.
        activation: A Keras activation with a known Lipschitz constant (see
            `rnnzoo.activations`), by name or as the function; None is `"linear"`.
        use_bias, ..., seed: As in `keras.layers.SimpleRNN`, in its order; a
            `recurrent_constraint` is refused. `unroll=True` needs a known number of steps, as
            there, and changes nothing else: the recurrence chooses its own unrolling.
        contraction: The bound $\lambda$, in (0, 1).
        form: `"auto"`, `"xla"`, `"adjoint"` or `"plain"` (see `rnnzoo.recurrences`); take
            `"plain"` for second derivatives. With `recurrent_dropout`, training runs
            step by step through the cell.
        shards: Number of independent loops over parts of the batch; None (default): one a core,
            where each has work enough.
        **kwargs: `name`, `dtype`, `trainable` and `zero_output_for_mask`.

    Inputs `[B, T, F]`, integers and booleans too; outputs `[B, H]`, or `[B, T, H]` with
    `return_sequences`, in the layer's compute dtype; under mixed precision the state arithmetic is
    float32 on the stored weights. One state `[B, H]`. Weights are those of
    `keras.layers.SimpleRNN`, in the same order. Masks, `initial_state`, `stateful` and
    `go_backwards` are Keras's own; a masked step carries the state and contracts nothing. Recurrent
    dropout scales states up while training: the bound is then one of inference.

    `fit` does not compile the layer with XLA (`supports_jit` is False): XLA drops the check that
    stops training when a weight is not finite. The call itself works under `jit_compile=True`.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type, and for an
            activation without a known Lipschitz constant. `InvalidArgumentError` from an optimizer
            step that leaves the recurrent weights not finite.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), section 2.

    Example:

    >>> import numpy as np
    >>> layer = StableRNN(4, contraction=0.9)
    >>> layer(np.ones([2, 3, 5], "float32")).shape
    TensorShape([2, 4])
    >>> round(layer.contraction(), 4)
    0.9
    """

    takes_unroll = True
    twin_file_name = "simple_rnn"

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        *,
        contraction: float = 0.95,
        form: str = "auto",
        shards: int | None = None,
        **kwargs: Any,
    ) -> None:
        of_cell = named_by(StableRNNCell.__init__, locals()) | shared(kwargs)
        of_layer = named_by(keras.layers.RNN.__init__, locals()) | kwargs
        refuse_number(activation, "contraction")
        self.check_arguments(units, of_layer)
        cell = StableRNNCell(**of_cell, name="simple_rnn_cell")
        # Past SimpleRNN's constructor, which makes a cell of its own.
        keras.layers.RNN.__init__(self, cell, activity_regularizer=activity_regularizer, **of_layer)
        self.supports_masking = True  # which the next Keras denies its own recurrent layers
        self.input_spec = [keras.layers.InputSpec(ndim=3)]
        self.supports_jit = False
        self._set_form(form, shards)

    def recur(self, sequences, initial_state, mask, training):
        cell = self.cell
        if training and cell.recurrent_dropout:
            return cell_loop(cell, sequences, initial_state, mask, training)
        if training and cell.dropout:
            dropped = cell.get_dropout_mask(sequences[:, 0])
            sequences *= tf.cast(dropped, sequences.dtype)[:, None]
        outputs, state = simple_rnn(
            sequences,
            *initial_state,
            full_precision(cell.kernel),
            full_precision(cell.recurrent_kernel),
            None if cell.bias is None else full_precision(cell.bias),
            activation=cell.activation,
            mask=mask,
            form=self._form_for(training),
            shards=self.shards,
        )
        return outputs, [state]

    def contraction(self, input_bound: float | None = None) -> float:
        r"""An upper bound of the contraction of one unmasked step, from the weights present.

        $\|\phi(h, x) - \phi(h', x)\|_2 \le \lambda \|h - h'\|_2$ for all states and all inputs,
        with $\lambda = L_\rho \|U\|_2$ in float64.

        Args:
            input_bound: None or a positive number. The bound holds for inputs of any size, so the
                value does not change it; the argument is there because other layers need it.

        Raises:
            ValueError: Before the layer is built, or for weights that are not finite.
        """
        if input_bound is not None:
            _checks.real("input_bound", input_bound, 0.0, low_open=True)
        (recurrent,) = stored_weights(self, self.cell, "recurrent_kernel")
        norm = np.linalg.norm(recurrent, 2) * (1.0 + spectral_norm_slack(recurrent.shape))
        return float(norm * lipschitz(self.cell.activation))

    def get_config(self):
        return {
            **super().get_config(),
            "recurrent_constraint": None,
            "contraction": self.cell.contraction,
            "seed": self.cell.seed,
            "form": self.form,
            "shards": self.shards,
        }
