"""GroupedAdamW: AdamW whose weights come in groups, each with a rate and a decay of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rnnzoo import _checks, _keras

GROUP = {"match", "rate", "decay"}


@keras.saving.register_keras_serializable(package="rnnzoo")
class GroupedAdamW(keras.optimizers.Adam):
    r"""Adam with decoupled weight decay, both by groups of weights.

    $$w \leftarrow w - r_g\,\eta\,(d_g\,w + \mathrm{Adam}(\nabla_w))$$

    with $\eta$ the learning rate, $r_g$ the factor and $d_g$ the decay of the group of $w$. Deep
    models of linear recurrences are trained so: eigenvalues, their normalisation and the input
    matrix take a smaller rate and no decay.

    Args:
        learning_rate: Number or schedule (default 0.001).
        weight_decay: Number of at least 0 (default 0): the decay of weights in no group.
        groups: Sequence of dicts, each with `match`, a regular expression that is searched in a
            weight's path (`"lru_block/lru_block_cell/lru/nu_log"`), and `rate` (default 1),
            `decay` (default 0). The first that matches decides; one that matches no weight of the
            model is an error at build.
        **kwargs: Every other argument of `keras.optimizers.Adam`.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type, and for a
            group that matches no weight.

    Sources: Loshchilov & Hutter, *Decoupled Weight Decay Regularization* (ICLR 2019); Orvieto et
    al., *Resurrecting Recurrent Neural Networks for Long Sequences* (2023), appendix, for the
    groups.

    >>> import keras, numpy as np
    >>> from rnnzoo.layers import LRU
    >>> model = keras.Sequential([keras.Input((None, 2)), LRU(3)])
    >>> slow = {"match": "nu_log|theta_log|gamma_log", "rate": 0.5}
    >>> model.compile(GroupedAdamW(1e-3, weight_decay=0.05, groups=[slow]), "mse")
    >>> len(model.fit(np.ones([4, 5, 2]), np.ones([4, 3]), verbose=0).history["loss"])
    1
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.0,
        groups: Sequence[dict] = (),
        name: str = "grouped_adamw",
        **kwargs: Any,
    ):
        # Keras's own decay knows one rate for all; so it is applied here, group by group.
        super().__init__(learning_rate, weight_decay=None, name=name, **kwargs)
        self.decay = _checks.real("weight_decay", weight_decay, 0.0)
        self.groups = [_group(given) for given in groups]

    def build(self, variables):
        for group in self.groups:
            if not any(re.search(group["match"], v.path) for v in variables):
                raise ValueError(
                    "`groups` must match weights of the model. Received: "
                    f"match={group['match']!r}, which is in none of the paths "
                    f"{[v.path for v in variables]}"
                )
        self._rules = [self.group_of(v.path) for v in variables]
        super().build(variables)

    def group_of(self, path: str) -> tuple[float, float]:
        """The factor of the rate, and the decay, of the weight of a path."""
        for group in self.groups:
            if re.search(group["match"], path):
                return group["rate"], group["decay"]
        return 1.0, self.decay

    def update_step(self, gradient, variable, learning_rate):
        rate, decay = self._rules[_keras.variable_index(self, variable)]
        learning_rate = ops.cast(learning_rate, variable.dtype) * rate
        if decay:
            self.assign_sub(variable, learning_rate * decay * variable)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        own = {"weight_decay": self.decay, "groups": self.groups}
        return {**super().get_config(), **own}


def _group(given):
    if not isinstance(given, dict) or "match" not in given or not set(given) <= GROUP:
        raise ValueError(
            "`groups` must be dicts with `match` and perhaps `rate` and `decay`. "
            f"Received: {given!r}"
        )
    try:
        re.compile(given["match"])
    except (re.error, TypeError) as error:
        raise ValueError(
            f"`match` must be a regular expression. Received: match={given['match']!r} ({error})"
        ) from error
    return {
        "match": given["match"],
        "rate": _checks.real("rate", given.get("rate", 1.0), 0.0),
        "decay": _checks.real("decay", given.get("decay", 0.0), 0.0),
    }
