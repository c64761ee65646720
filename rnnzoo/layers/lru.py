"""LRU: the linear recurrent unit, a diagonal complex recurrence between dense projections."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo._checks import LRUOptions
from rnnzoo.layers._linear import LinearRecurrent
from rnnzoo.layers._lru_cell import LRUCell
from rnnzoo.layers._recurrent import shared
from rnnzoo.recurrences.diagonal import lru
from rnnzoo.recurrences.last_state import lru_last


@keras.saving.register_keras_serializable(package="rnnzoo")
class LRU(LinearRecurrent):
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
        form: `"auto"`, `"adjoint"` or `"plain"` (see `rnnzoo.recurrences`); take `"plain"` for
            second derivatives. `"auto"` is the adjoint in training and the same forward pass
            without it at inference. With `return_sequences=False`, at most 8 features and a known
            T, `"auto"` needs no loop (see `rnnzoo.recurrences.lru_last`).
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
    repeated (zero before the first real step). With `return_sequences=False` the last state alone
    is projected.

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

    cell_arguments = ("units", *LRUOptions.names())

    def __init__(
        self,
        units: int,
        state_size: int | None = LRUOptions.state_size,
        parametrization: str = LRUOptions.parametrization,
        normalization: str | None = LRUOptions.normalization,
        r_min: float = LRUOptions.r_min,
        r_max: float = LRUOptions.r_max,
        max_phase: float = LRUOptions.max_phase,
        seed: int | None = LRUOptions.seed,
        form: str = "auto",
        **kwargs: Any,
    ) -> None:
        options = LRUOptions(
            state_size, parametrization, normalization, r_min, r_max, max_phase, seed
        )
        cell = LRUCell(units, **options.as_dict(), name="lru_cell", **shared(kwargs))
        super().__init__(cell, **kwargs)
        self._set_form(form, xla=False)  # compiled loops do not pay here

    def recur(self, sequences, initial_state, mask, training):
        outputs, *states = lru(
            tf.cast(sequences, self.cell.state_dtype),
            *initial_state,
            *self.cell.matrices(),
            mask=mask,
            form=self._form_for(training),
        )
        return outputs, states

    def recur_last(self, sequences, initial_state, mask, training):
        x = tf.cast(sequences, self.cell.state_dtype)
        output, *states = lru_last(
            x,
            *initial_state,
            *self.cell.matrices(),
            mask=mask,
            form=self._last_form_for(x, training),
        )
        return output, states

    def contraction(self, input_bound: float | None = None) -> float:
        """An upper bound of max |lambda|, the gain of a step in the 2-norm of (re h, im h).

        It holds for all states and, the recurrence being linear, for all inputs: `input_bound`, by
        which other layers' bounds depend on their inputs, makes no difference here. It covers the
        weights in float64 and lambda as the layer rounds it.
        """
        if input_bound is not None:
            _checks.real("input_bound", input_bound, 0.0)
        return self.cell.contraction()
