"""LRU: the linear recurrent unit, a diagonal complex recurrence between dense projections."""

import math

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.layers._lru_cell import LRUCell
from rnnzoo.layers._recurrent import Recurrent
from rnnzoo.recurrences._forms import PLAIN
from rnnzoo.recurrences.diagonal import lru

_CELL_ARGUMENTS = (
    "units",
    "state_size",
    "parametrization",
    "normalization",
    "r_min",
    "r_max",
    "max_phase",
    "seed",
)


@keras.saving.register_keras_serializable(package="rnnzoo")
class LRU(Recurrent, keras.layers.RNN):
    r"""A linear recurrent unit: complex eigenvalues inside the unit circle between real ends.

    $$h_t = \lambda \odot h_{t-1} + \gamma \odot B x_t,\qquad y_t = \Re[C h_t] + D x_t$$

    Args:
        units: Positive integer, the size of the outputs.
        state_size: Positive integer `N`, the number of complex states; None (default): `units`.
        parametrization: How $\lambda$ is written as weights.
            `"exponential"` (default): $\lambda=\exp(-e^{\nu}+ie^{\theta})$, weights `nu_log`,
            `theta_log`.
            `"polar"`: $\lambda=\nu e^{i\theta}$, weights `nu`, `theta`.
            `"tanh"`: $|\lambda|=\tanh\omega_\nu$ with the angle
            $\omega_\theta(1-|\lambda|^2)/(|\lambda|\sqrt{1+|\lambda|^2})$, weights `omega_nu`,
            `omega_theta`; needs `r_min > 0`.
            `"cartesian"`: the weight `lambda_re_im` `[2, N]`.
        normalization: `"learned"` (default): $\gamma=e^{\texttt{gamma\_log}}$, a weight that starts
            at $\sqrt{1-|\lambda|^2}$. `"fixed"`: $\gamma=\sqrt{1-|\lambda|^2}$, recomputed from
            $\lambda$ at every call, and differentiated through. None: $\gamma=1$.
        r_min, r_max: The ring of the first $|\lambda|$, with $0\le$ `r_min` $\le$ `r_max` $\le1$
            and `r_min` below 1; defaults 0 and 1. Drawn uniformly over its area.
        max_phase: The largest first angle, in (0, 2 pi] (default 2 pi). Drawn uniformly.
        seed: Non-negative integer or None, for every random draw at build.
        form: `"auto"`, `"adjoint"` or `"autodiff"` (see `rnnzoo.recurrences`); take `"autodiff"`
            for second derivatives. `"auto"` is the adjoint in training and the same forward pass
            without it at inference.
        **kwargs: The arguments of `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `zero_output_for_mask`, `name`, `dtype` ...;
            `unroll=True` is refused.

    Weights: those of $\lambda$ `[N]`, `gamma_log` `[N]` (learned normalization only), `B_re` and
    `B_im` `[N, F]`, `C_re` and `C_im` `[units, N]`, `D` `[F]` where `units` equals F, else
    `[units, F]`. At build B has the variance 1/(2F) in each part, C 1/N, D 1 (a matrix: 1/F).

    $|\lambda|<1$ holds by construction for `"exponential"` and `"tanh"`, and by a constraint from
    build on and after each optimizer step for the others. Because floating-point numbers round
    to 1 close to it, constraints also keep every $|\lambda|$ at 8 roundings below 1 (float32:
    $1-2^{-20}$), and each weight where the formulas and their gradients are finite.

    Inputs `[B, T, F]`; outputs `[B, units]`, or `[B, T, units]` with `return_sequences`, in the
    compute dtype. States `[re h, im h]`, each `[B, N]`; weights, states and arithmetic are float32
    under mixed precision. A masked step changes nothing: the state is carried and the output
    repeated (zero before the first real step).

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Sources: Orvieto et al., *Resurrecting Recurrent Neural Networks for Long Sequences* (2023);
    Zucchet and Orvieto, *Recurrent neural networks: vanishing and exploding gradients are not the
    end of the story* (2024), for `"tanh"` and the two normalizations.

    >>> import numpy as np
    >>> layer = LRU(4, state_size=8, r_min=0.9, r_max=0.99, return_sequences=True, seed=1)
    >>> layer(np.ones([2, 100, 3], "float32")).shape
    TensorShape([2, 100, 4])
    >>> bool(0.9 <= abs(layer.eigenvalues()).min() <= layer.contraction() < 0.991)
    True
    """

    def __init__(
        self,
        units,
        state_size=None,
        parametrization="exponential",
        normalization="learned",
        r_min=0.0,
        r_max=1.0,
        max_phase=2.0 * math.pi,
        seed=None,
        form="auto",
        **kwargs,
    ):
        self._check_arguments(units, kwargs)
        cell = LRUCell(
            units,
            state_size=state_size,
            parametrization=parametrization,
            normalization=normalization,
            r_min=r_min,
            r_max=r_max,
            max_phase=max_phase,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="lru_cell",
        )
        # Without autocast, because states given from outside are to stay in full precision.
        super().__init__(cell, autocast=False, **kwargs)
        self._set_form(_checks.choice("form", form, PLAIN))  # compiled loops do not pay here

    def _create_state_variables(self, batch_size):
        super()._create_state_variables(batch_size)
        for state in self.states:
            state._autocast = False

    def call(self, sequences, initial_state=None, mask=None, training=False):
        # Keras's own would pass the states through the compute dtype, which may be half.
        self._check_call(sequences, initial_state, mask)
        if self.stateful:
            self._check_stateful_batch(sequences)
        if initial_state is None:
            batch = tf.shape(sequences)[0]
            initial_state = self.states if self.stateful else self.get_initial_state(batch)
        last, outputs, states = self.inner_loop(
            sequences,
            [tf.convert_to_tensor(s) for s in tf.nest.flatten(initial_state)],
            mask,
            training=training,
        )
        if self.stateful:
            for variable, state in zip(self.states, states):
                variable.assign(state)
        result = tf.cast(outputs if self.return_sequences else last, self.compute_dtype)
        return (result, *states) if self.return_state else result

    def _check_stateful_batch(self, sequences):
        expected, received = self._expected_batch_size, sequences.shape[0]
        if None not in (expected, received) and expected != received:
            raise ValueError(
                f"The batch of {self.name} must stay {expected}, as at build, because it is "
                f"stateful. Received: sequences.shape={tuple(sequences.shape)}"
            )

    def recur(self, sequences, initial_state, mask, training):
        dtype = self.cell.state_dtype
        outputs, *states = lru(
            tf.cast(sequences, dtype),
            *(tf.cast(s, dtype) for s in initial_state),
            *self.cell.matrices(),
            mask=mask,
            form=self._form_for(training),
        )
        return outputs, states

    def compute_output_spec(self, *args, **kwargs):
        spec = super().compute_output_spec(*args, **kwargs)
        if not self.return_state:
            return spec
        states = (keras.KerasTensor(s.shape, dtype=self.cell.state_dtype) for s in spec[1:])
        return (spec[0], *states)

    def eigenvalues(self):
        """lambda as a complex128 NumPy array `[N]`, computed in float64 from the weights."""
        return self.cell.eigenvalues()

    def contraction(self, input_bound=None):
        """An upper bound of max |lambda|, the gain of a step in the 2-norm of (re h, im h).

        It holds for all states and, the recurrence being linear, for all inputs: `input_bound`, by
        which other layers' bounds depend on their inputs, makes no difference here. It covers the
        weights in float64 and lambda as the layer rounds it.
        """
        if input_bound is not None:
            _checks.real("input_bound", input_bound, 0.0)
        return self.cell.contraction()

    def get_config(self):
        config = super().get_config()
        del config["cell"]
        cell = self.cell.get_config()
        return {**config, **{name: cell[name] for name in _CELL_ARGUMENTS}, "form": self.form}

    @classmethod
    def from_config(cls, config):
        return cls(**config)  # Keras's RNN would look for a cell, which is made here
