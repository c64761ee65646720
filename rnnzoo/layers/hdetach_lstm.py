"""HDetachLSTM: the LSTM whose gradient through h is cut at random steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.layers._recurrent import (
    Activation,
    Recurrent,
    cell_loop,
    full_precision,
    named_by,
    refuse_number,
)
from rnnzoo.layers._twin_files import HintsAtTwin
from rnnzoo.recurrences.lstm import lstm


class _DetachState:
    """The probability, changeable inside a compiled step, and the generator of the draws.

    Held by a plain object, because an attribute of a layer would be tracked as a weight of it: the
    weight list stays that of `keras.layers.LSTM`, so that weights move both ways.
    """

    def __init__(self, p, seed):
        with tf.init_scope():
            self.variable = tf.Variable(p, trainable=False, dtype=tf.float32, name="detach_p")
        self.p = p
        self.seed_generator = keras.random.SeedGenerator(seed)

    def set_p(self, p):
        self.p = p
        self.variable.assign(p)


@keras.saving.register_keras_serializable(package="rnnzoo")
class HDetachLSTM(HintsAtTwin, Recurrent, keras.layers.LSTM):
    r"""An LSTM whose gradient through $h_{t-1}$ is cut with probability `p` at each training step.

    $$i, f, o = \sigma(x_t W_{ifo} + \tilde h_{t-1} U_{ifo} + b_{ifo}),\quad
      g = \tanh(x_t W_g + \tilde h_{t-1} U_g + b_g)$$
    $$c_t = f \odot c_{t-1} + i \odot g,\qquad h_t = o \odot \tanh(c_t)$$

    where $\tilde h_{t-1}$ is `stop_gradient(h_{t-1})` with probability `p` and $h_{t-1}$ otherwise,
    one draw per time step for the whole batch. Values never change; outputs and losses at every
    step keep their gradient. At inference, and at `p=0`, this is `keras.layers.LSTM`, with the same
    weights in the same order.

    By position the arguments are those of `keras.layers.LSTM`; those of this layer's own are given
    by name.

    Args:
        units: Positive integer, the size `H` of h and c.
        activation, ..., use_cudnn: As in `keras.layers.LSTM`, in its order. `unroll=True` needs a
            known number of steps, as there, and changes nothing else: the recurrence chooses its
            own unrolling. `use_cudnn` changes nothing, because cuDNN cannot detach: the layer runs
            its own loop.
        p: Probability in [0, 1] of cutting at a step. Not a weight; `layer.p = 0.1` changes it at
            any time, also between the steps of a compiled `fit` (see
            `rnnzoo.training.HDetachAnnealing`).
        detach: `"h"`, or `"c"` for the ablation that cuts the gradient through $c_{t-1}$ instead.
        form: `"auto"`, `"xla"`, `"adjoint"` or `"plain"` (see `rnnzoo.recurrences`); take
            `"plain"` for second derivatives. `activation` or `recurrent_activation` other than
            tanh and sigmoid, `recurrent_dropout` and `implementation=1` always run step by step
            through the cell.
        shards: Number of independent loops over parts of the batch; None (default): one a core,
            where each has work enough.
        **kwargs: `name`, `dtype`, `trainable`, `zero_output_for_mask` and `implementation`, as in
            `keras.layers.LSTM`.

    Inputs `[B, T, F]`, integers and booleans too; outputs `[B, H]`, or `[B, T, H]` with
    `return_sequences`, in the layer's compute dtype; the state arithmetic is float32 under mixed
    precision. States `[h, c]`, each `[B, H]`. Masks, `initial_state`, `stateful` and `go_backwards`
    are Keras's own.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Source: Arpit et al., *h-detach: Modifying the LSTM Gradient Towards Better Optimization*
    (ICLR 2019), algorithm 1.

    Example:

    >>> import keras, numpy as np
    >>> layer = HDetachLSTM(4, p=0.5, seed=1)
    >>> layer(np.ones([2, 3, 5], "float32")).shape
    TensorShape([2, 4])
    >>> twin = keras.layers.LSTM(4)
    >>> twin.build([None, None, 5])
    >>> twin.set_weights(layer.get_weights())
    """

    takes_unroll = True
    twin_file_name = "lstm"

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        *,
        p: float = 0.25,
        detach: str = "h",
        form: str = "auto",
        shards: int | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = named_by(super().__init__, locals()) | kwargs
        refuse_number(activation, "p")
        p = _checks.probability("p", p)
        self.check_arguments(units, arguments)
        _checks.choice("use_cudnn", use_cudnn, ("auto", True, False))
        super().__init__(**{**arguments, "use_cudnn": False})
        self.supports_masking = True  # which the next Keras denies its own recurrent layers
        self.use_cudnn = use_cudnn
        self.detach = _checks.choice("detach", detach, ("h", "c"))
        self._set_form(form, shards)
        # A plain seed would make the draws of dropout and of detaching one stream.
        seed = self.cell.seed
        self._set_detach_state(_DetachState(p, None if seed is None else seed + 1))

    def _set_detach_state(self, state):
        self._detach_state = state
        self.detach_seed_generator = state.seed_generator

    def share_detach_state(self, other: HDetachLSTM) -> None:
        """Detach with the probability of another HDetachLSTM, whatever it is set to."""
        self._detach_state = other._detach_state

    @property
    def p(self):
        """The probability of cutting at a step, now."""
        return self._detach_state.p

    @p.setter
    def p(self, value):
        self._detach_state.set_p(_checks.probability("p", value))

    def recur(self, sequences, initial_state, mask, training):
        keep = self.draw(sequences) if training else None
        cell = self.cell
        if not self.is_standard():
            return cell_loop(cell, sequences, initial_state, mask, training, self.cut(keep))
        if training and cell.dropout:
            dropped = cell.get_dropout_mask(sequences[:, 0])
            sequences *= tf.cast(dropped, sequences.dtype)[:, None]
        outputs, h, c = lstm(
            sequences,
            *initial_state,
            full_precision(cell.kernel),
            full_precision(cell.recurrent_kernel),
            None if cell.bias is None else full_precision(cell.bias),
            mask=mask,
            keep_h=keep if self.detach == "h" else None,
            keep_c=keep if self.detach == "c" else None,
            form=self._form_for(training),
            shards=self.shards,
        )
        return outputs, [h, c]

    def draw(self, sequences: tf.Tensor) -> tf.Tensor:
        """One draw per time step, shared by the batch: True keeps the gradient."""
        draws = keras.random.uniform(
            [tf.shape(sequences)[1]], dtype="float32", seed=self._detach_state.seed_generator
        )
        return draws >= self._detach_state.variable

    def is_standard(self) -> bool:
        """Whether a step is that of the fast recurrence; else the cell is called for each."""
        cell = self.cell
        return (
            cell.activation is keras.activations.tanh
            and cell.recurrent_activation is keras.activations.sigmoid
            and not cell.recurrent_dropout
            and not (cell.dropout and cell.implementation == 1)
        )

    def cut(self, keep: tf.Tensor | None) -> Callable | None:
        """`cut(t, states)` for `cell_loop`, by the draws `keep [T]`; None where there are none."""
        if keep is None:
            return None
        which = 0 if self.detach == "h" else 1

        def cut(t, states):
            states = list(states)
            states[which] = tf.where(keep[t], states[which], tf.stop_gradient(states[which]))
            return states

        return cut

    def get_config(self):
        return {
            **super().get_config(),
            "use_cudnn": self.use_cudnn,
            "implementation": self.cell.implementation,
            "p": self.p,
            "detach": self.detach,
            "form": self.form,
            "shards": self.shards,
        }
