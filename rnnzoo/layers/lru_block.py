"""LRUBlock: the residual block of deep LRU models, as one recurrent layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo._checks import LRUOptions
from rnnzoo.layers._linear import LinearCell, LinearRecurrent
from rnnzoo.layers._lru_cell import LRUCell
from rnnzoo.layers._masks import real_steps
from rnnzoo.layers._recurrent import shared
from rnnzoo.recurrences._packing import newest, repeated
from rnnzoo.recurrences.diagonal import lru
from rnnzoo.recurrences.last_state import lru_last


@keras.saving.register_keras_serializable(package="rnnzoo")
class LRUBlockCell(LinearCell):
    """One step of an `LRUBlock`; arguments as there, states as in `LRU`.

    `before` and `after` take whole sequences too: all but the recurrence acts on each step alone.
    """

    def __init__(self, units, norm="batch", norm_first=True, dropout=0.0, **lru_and_kwargs):
        options = LRUOptions.out_of(lru_and_kwargs)
        _checks.choice("norm", norm, ("batch", "layer", None))
        _checks.boolean("norm_first", norm_first)
        dropout = _checks.real("dropout", dropout, 0.0, 1.0, high_open=True)
        super().__init__(units, options.state_size, options.seed, **lru_and_kwargs)
        self.norm, self.norm_first, self.dropout = norm, norm_first, dropout
        self._shared = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.lru = LRUCell(self.units, **options.as_dict(), **self._shared, name="lru")
        self.state_size = self.lru.state_size
        self.encoder = None
        self.normalize = _NORMS[norm](**self._shared, name="norm")
        self.value = self._dense("value", 6)
        self.gate = self._dense("gate", 7)
        self.dropouts = [
            keras.layers.Dropout(dropout, seed=self._seed(9 + i), dtype=self.dtype_policy)
            for i in range(2)
        ]

    def _dense(self, name, offset):
        kernel = keras.initializers.GlorotUniform(seed=self._seed(offset))
        return keras.layers.Dense(self.units, kernel_initializer=kernel, name=name, **self._shared)

    def build(self, input_shape):
        features = self._features(input_shape)
        if features != self.units:
            self.encoder = self._dense("encoder", 8)
            self.encoder.build((None, None, features))
        for layer in (self.lru, self.normalize, self.value, self.gate):
            layer.build((None, None, self.units))

    def before(self, x, training, mask=None):
        """`(the stream that the skip carries, what goes into the recurrence)`, of `[B, T, F]`."""
        x = tf.cast(x, self.compute_dtype)
        x = x if self.encoder is None else self.encoder(x)
        return x, self._normalized(x, training, mask) if self.norm_first else x

    def after(self, x, y, training, mask=None):
        """The block's outputs, from the stream and the recurrence's outputs `[B, T, units]`."""
        first, second = self.dropouts
        y = first(keras.activations.gelu(tf.cast(y, self.compute_dtype)), training=training)
        y = self.value(y) * tf.sigmoid(self.gate(y))
        y = tf.cast(x, self.compute_dtype) + second(y, training=training)
        return y if self.norm_first else self._normalized(y, training, mask)

    def _normalized(self, x, training, mask):
        if self.norm == "batch":
            return self.normalize(x, training=training, mask=mask)
        return self.normalize(x)

    def norm_needs_all(self, training):
        """Whether what the last step gives depends on the outputs before it: batch statistics."""
        trains = training and self.normalize.trainable
        return bool(trains) and self.norm == "batch" and not self.norm_first

    def call(self, inputs, states, training=False):
        self.refuse_single_steps(training)
        x, z = self.before(inputs[:, None], training)
        y, states = self.lru(z[:, 0], states)
        return self.after(x, y[:, None], training)[:, 0], states

    def refuse_single_steps(self, training):
        """Statistics of one step are not those of the sequence that the layer would take."""
        if training and self.norm == "batch" and self.normalize.trainable:
            raise ValueError(
                "`norm` must be 'layer' or None where an LRUBlock is trained step by step (in a "
                "TruncatedWrapper or another loop over its cell): batch statistics run over all "
                "time steps. Received: norm='batch'"
            )

    def eigenvalues(self):
        """lambda as a complex128 NumPy array `[N]`, computed in float64 from the weights."""
        return self.lru.eigenvalues()

    def get_config(self):
        own = {name: getattr(self, name) for name in ("norm", "norm_first", "dropout")}
        return {**super().get_config(), **own, **self.lru.options.as_dict()}


@keras.saving.register_keras_serializable(package="rnnzoo")
class LRUBlock(LinearRecurrent):
    r"""The residual block of deep LRU models: norm, LRU, GELU, dropout, GLU, dropout, skip.

    $$z = D\,\mathrm{GELU}(\mathrm{LRU}(\mathrm{norm}(x))),\qquad
      y = x + D\left[(zW_1+b_1)\odot\sigma(zW_2+b_2)\right]$$

    with $D$ dropout. With `norm_first=False` the norm stands behind the sum instead. Where F
    differs from `units`, $x$ is first projected: a linear encoder.

    Args:
        units: Positive integer, the width of the stream.
        norm: `"batch"` (default, as published), `"layer"` or None; Keras's layers with their
            defaults.
        norm_first: Boolean (default True, as published): pre-norm.
        dropout: Number in [0, 1) (default 0), of single numbers.
        state_size, parametrization, normalization, r_min, r_max, max_phase: As in `LRU`, whose
            `normalization` is that of the recurrence's input.
        seed: Non-negative integer or None, for every random draw.
        form: As in `LRU`, of whose inputs there are `units` here.
        **kwargs: The arguments of `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `zero_output_for_mask`, `name`, `dtype` ...;
            `unroll=True` is refused.

    Weights: those of `LRU`; of the norm; `kernel` `[units, units]` and `bias` of `value` (1) and
    `gate` (2); of `encoder` `[F, units]`.

    Batch norm: at inference it acts on each step alone, with the moving averages. In training its
    statistics run over the rows and steps of a call, masked ones left out: over a batch, or under
    `TruncatedBPTT` over a stride of it. So a training step sees its future through them; take
    `"layer"` where that must not be. Trained step by step (`TruncatedWrapper`, or any loop over
    the cell), batch norm is refused with a `ValueError`.

    Inputs `[B, T, F]`; outputs `[B, units]`, or `[B, T, units]` with `return_sequences`, in the
    compute dtype. States `[re h, im h]` of the LRU, each `[B, N]`; its weights, states and
    arithmetic are float32 under mixed precision, all else is in the compute dtype. A masked step
    changes nothing: the state is carried and the output repeated (zero before the first real
    step). With `return_sequences=False` all after the recurrence runs on the last step alone, but
    for a batch norm behind the sum in training.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Source: Orvieto et al., *Resurrecting Recurrent Neural Networks for Long Sequences* (2023), and
    its public reimplementation minimal-LRU.

    >>> import numpy as np
    >>> layer = LRUBlock(4, state_size=6, dropout=0.1, return_sequences=True, seed=1)
    >>> layer(np.ones([2, 10, 3], "float32")).shape
    TensorShape([2, 10, 4])
    """

    cell_arguments = ("units", "norm", "norm_first", "dropout", *LRUOptions.names())

    def __init__(
        self,
        units: int,
        norm: str | None = "batch",
        norm_first: bool = True,
        dropout: float = 0.0,
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
        own = {"norm": norm, "norm_first": norm_first, "dropout": dropout}
        cell = LRUBlockCell(
            units, **own, **options.as_dict(), name="lru_block_cell", **shared(kwargs)
        )
        super().__init__(cell, **kwargs)
        self._set_form(form, xla=False)

    def recur(self, sequences, initial_state, mask, training):
        cell = self.cell
        x, z = cell.before(real_steps(sequences, mask), training, mask)
        y, *states = lru(
            tf.cast(z, cell.state_dtype),
            *initial_state,
            *cell.lru.matrices(),
            mask=mask,
            form=self._form_for(training),
        )
        return repeated(cell.after(x, y, training, mask), mask), states

    def recur_last(self, sequences, initial_state, mask, training):
        cell = self.cell
        if cell.norm_needs_all(training):
            outputs, states = self.recur(sequences, initial_state, mask, training)
            return tf.reduce_sum(outputs[:, -1:], axis=1), states
        x, z = cell.before(real_steps(sequences, mask), training, mask)
        z = tf.cast(z, cell.state_dtype)
        y, *states = lru_last(
            z,
            *initial_state,
            *cell.lru.matrices(),
            mask=mask,
            form=self._last_form_for(z, training),
        )
        last = cell.after(newest(x, mask)[:, None], y[:, None], training)
        if not sequences.shape[1]:  # perhaps no step, and then no output but zeros
            last *= tf.cast(tf.shape(sequences)[1] > 0, last.dtype)
        return last[:, 0], states

    def contraction(self, input_bound: float | None = None) -> float:
        """As that of `LRU`: the state's step is linear, whatever stands around it."""
        if input_bound is not None:
            _checks.real("input_bound", input_bound, 0.0)
        return self.cell.lru.contraction()


_NORMS = {
    "batch": keras.layers.BatchNormalization,
    "layer": keras.layers.LayerNormalization,
    None: keras.layers.Identity,
}
