"""StableRNN: a simple RNN whose step is a contraction."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.layers._recurrent import Recurrent, cell_loop, full_precision
from rnnzoo.layers._stable import ProjectedFromBuild, cell_arguments, refuse, stored_weights
from rnnzoo.layers.constraints import SpectralNorm, spectral_norm_slack
from rnnzoo.recurrences.simple_rnn import simple_rnn

_act = keras.activations

# Upper bounds of |rho'| over the real line; every activation here acts on each unit alone.
LIPSCHITZ = {
    _act.celu: 1.0,
    _act.elu: 1.0,
    _act.gelu: 1.128905,  # at sqrt(2)
    _act.hard_sigmoid: 1.0 / 6.0,
    _act.hard_tanh: 1.0,
    _act.leaky_relu: 1.0,
    _act.linear: 1.0,
    _act.log_sigmoid: 1.0,
    _act.relu: 1.0,
    _act.relu6: 1.0,
    _act.selu: 1.758100,  # scale * alpha, at 0 from below
    _act.sigmoid: 0.25,
    _act.silu: 1.099840,
    _act.soft_shrink: 1.0,
    _act.softplus: 1.0,
    _act.softsign: 1.0,
    _act.sparse_plus: 1.0,
    _act.sparse_sigmoid: 0.5,
    _act.squareplus: 1.0,
    _act.tanh: 1.0,
    _act.tanh_shrink: 1.0,
}


def lipschitz(activation):
    """The Lipschitz constant of a Keras activation, or a `ValueError` where the table has none."""
    constant = LIPSCHITZ.get(_act.get(activation))
    if constant is None:
        names = ", ".join(sorted(f.__name__ for f in LIPSCHITZ))
        raise ValueError(
            f"`activation` must have a known Lipschitz constant: one of {names}. "
            f"Received: activation={activation!r}"
        )
    return constant


@keras.saving.register_keras_serializable(package="rnnzoo")
class StableRNNCell(ProjectedFromBuild, keras.layers.SimpleRNNCell):
    """One step of `StableRNN`; its weights are those of `keras.layers.SimpleRNNCell`.

    Args:
        units, contraction, activation: As in `StableRNN`.
        **kwargs: Every other argument of `keras.layers.SimpleRNNCell`; `recurrent_constraint` is
            taken.
    """

    def __init__(self, units, contraction=0.95, activation="tanh", **kwargs):
        Recurrent._check_arguments(units, kwargs)
        contraction = _checks.real("contraction", contraction, 0.0, 1.0, True, True)
        bound = contraction / lipschitz(activation)
        refuse(kwargs, "recurrent_constraint", "the contraction is held by a constraint of its own")
        constraint = SpectralNorm(bound)
        super().__init__(units, activation, recurrent_constraint=constraint, **kwargs)
        self.contraction = contraction

    def call(self, sequence, states, training=False):
        output, _ = super().call(sequence, states, training=training)
        output = tf.cast(output, self.compute_dtype)
        return output, [output] if isinstance(states, (list, tuple)) else output

    def get_config(self):
        config = super().get_config()
        del config["recurrent_constraint"]
        return {**config, "contraction": self.contraction}


@keras.saving.register_keras_serializable(package="rnnzoo")
class StableRNN(Recurrent, keras.layers.SimpleRNN):
    r"""A simple RNN whose recurrent matrix is kept so small that every step is a contraction.

    $$h_t = \rho(x_t W + h_{t-1} U + b), \qquad \|U\|_2 \le \lambda / L_\rho$$

    with $\lambda$ = `contraction` and $L_\rho$ the Lipschitz constant of the activation. So
    $\|h_t - h'_t\|_2 \le \lambda \|h_{t-1} - h'_{t-1}\|_2$ for any two states and the same input.
    A projection (singular values above the bound are clipped) holds it from `build` on and after
    every optimizer step; weights loaded or set by hand are taken as they are, and `contraction()`
    says what they give.

    Args:
        units: Positive integer, the size `H` of the state.
        contraction: The bound $\lambda$, in (0, 1).
        activation: A Keras activation with a known Lipschitz constant (`LIPSCHITZ` in this
            module), by name or as the function; None is `"linear"`.
        form: `"auto"`, `"xla"`, `"adjoint"` or `"autodiff"` (see `rnnzoo.recurrences`); take
            `"autodiff"` for second derivatives. With `recurrent_dropout`, training runs
            step by step through the cell.
        shards: Number of independent loops over parts of the batch; None (default): one a core,
            where each has work enough.
        **kwargs: Every other argument of `keras.layers.SimpleRNN`; `recurrent_constraint` and
            `unroll=True` are refused.

    Inputs `[B, T, F]`; outputs `[B, H]`, or `[B, T, H]` with `return_sequences`, in the layer's
    compute dtype; under mixed precision the state arithmetic is float32 on the stored weights. One
    state `[B, H]`. Weights are those of `keras.layers.SimpleRNN`, in the same order. Masks,
    `initial_state`, `stateful` and `go_backwards` are Keras's own; a masked step carries the state
    and contracts nothing. Recurrent dropout scales states up while training: the bound is then one
    of inference.

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

    def __init__(
        self, units, contraction=0.95, activation="tanh", form="auto", shards=None, **kwargs
    ):
        for_cell = cell_arguments(kwargs)
        self._check_arguments(units, kwargs)
        cell = StableRNNCell(units, contraction, activation, name="simple_rnn_cell", **for_cell)
        # Past SimpleRNN's constructor, which makes a cell of its own.
        keras.layers.RNN.__init__(self, cell, **kwargs)
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

    def contraction(self, input_bound=None):
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
        config = super().get_config()
        del config["recurrent_constraint"]
        return {
            **config,
            "contraction": self.cell.contraction,
            "seed": self.cell.seed,
            "form": self.form,
            "shards": self.shards,
        }
