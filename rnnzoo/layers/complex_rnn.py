"""ComplexRNN: a complex diagonal recurrence, neither normalised nor reparametrised."""

from __future__ import annotations

from typing import Any

import keras

from rnnzoo._checks import LRUOptions
from rnnzoo.layers.lru import LRU


@keras.saving.register_keras_serializable(package="rnnzoo")
class ComplexRNN(LRU):
    r"""A complex diagonal linear recurrence whose weights are the eigenvalues themselves.

    $$h_t = \lambda \odot h_{t-1} + B x_t,\qquad y_t = \Re[C h_t] + D x_t$$

    An `LRU` with `parametrization="cartesian"` and `normalization=None`: what is left of it
    without the two changes that make it learn long memory.

    Args:
        units, state_size, r_min, r_max, max_phase, seed, form, **kwargs: As in `LRU`.

    Weights: `lambda_re_im` `[2, N]`, the real and imaginary parts of $\lambda$; `B_re`, `B_im`,
    `C_re`, `C_im` and `D` as in `LRU`, with its distributions. A constraint keeps $|\lambda|<1$.

    Shapes, dtypes, masks and states are those of `LRU`.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Source: Zucchet and Orvieto, *Recurrent neural networks: vanishing and exploding gradients are
    not the end of the story* (2024), section 5: the ablation's complex diagonal RNN.

    >>> import numpy as np
    >>> layer = ComplexRNN(4, r_min=0.9, r_max=0.99, seed=1)
    >>> layer(np.ones([2, 10, 3], "float32")).shape
    TensorShape([2, 4])
    >>> [w.name for w in layer.weights]
    ['lambda_re_im', 'B_re', 'B_im', 'C_re', 'C_im', 'D']
    """

    cell_arguments = ("units", "state_size", "r_min", "r_max", "max_phase", "seed")

    def __init__(
        self,
        units: int,
        state_size: int | None = LRUOptions.state_size,
        r_min: float = LRUOptions.r_min,
        r_max: float = LRUOptions.r_max,
        max_phase: float = LRUOptions.max_phase,
        seed: int | None = LRUOptions.seed,
        form: str = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, state_size, "cartesian", None, r_min, r_max, max_phase, seed, form, **kwargs
        )
