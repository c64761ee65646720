"""LinearRNN: a dense or block-diagonal linear recurrence between dense projections."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.initializers import TeacherEigenvalues, own_seed, reseeded
from rnnzoo.layers._linear import LinearCell, LinearRecurrent
from rnnzoo.layers._masks import real_steps
from rnnzoo.layers._recurrent import full_precision, shared
from rnnzoo.layers._stable import stored_weights
from rnnzoo.layers.constraints import spectral_norm_slack
from rnnzoo.recurrences._packing import repeated
from rnnzoo.recurrences.simple_rnn import simple_rnn


@keras.saving.register_keras_serializable(package="rnnzoo")
class LinearRNNCell(LinearCell):
    """One step of a `LinearRNN`; arguments as there, states `[h]`, `[B, N]`."""

    def __init__(
        self, units, heads=1, state_size=None, recurrent_initializer=None, seed=None, **kwargs
    ):
        heads = _checks.integer("heads", heads)
        super().__init__(units, state_size, seed, **kwargs)
        if self.n % heads:
            raise ValueError(
                f"`heads` must divide the state's size, {self.n}. Received: heads={heads}"
            )
        self.heads = heads
        if recurrent_initializer is None:
            recurrent_initializer = TeacherEigenvalues()
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.state_size = [self.n]

    def build(self, input_shape):
        features = self._features(input_shape)
        width = self.n // self.heads
        self.A = self._weight("A", (self.heads, width, width), self._draw_blocks)
        self.B = self._normal("B", (self.n, features), 1.0 / features, 0)
        self.C = self._normal("C", (self.units, self.n), 1.0 / self.n, 1)
        self.D = self._skip(features, 2)

    def _draw_blocks(self, shape, dtype=None):
        """Each head by itself, with a seed of its own: orthogonal is to mean orthogonal blocks."""
        given = self.recurrent_initializer
        seed = own_seed(given) if self.seed is None else self._seed(3)
        seeds = [None if seed is None else seed + head for head in range(shape[0])]
        return tf.stack([reseeded(given, s)(shape[1:], dtype=dtype) for s in seeds])

    def matrices(self):
        """(recurrent_kernel [N, N], b [F, N], c [N, units], d), to be multiplied from the right."""
        a, b, c, d = (full_precision(w) for w in (self.A, self.B, self.C, self.D))
        blocks = tf.eye(self.heads, dtype=a.dtype)[:, None, :, None] * a[:, :, None, :]
        dense = tf.reshape(blocks, [self.n, self.n])
        d = d if d.shape.rank == 1 else tf.transpose(d)
        return tf.transpose(dense), tf.transpose(b), tf.transpose(c), d

    def call(self, inputs, states, training=False):
        recurrent_kernel, b, c, d = self.matrices()
        x = tf.cast(inputs, self.state_dtype)
        h = tf.matmul(tf.cast(states[0], self.state_dtype), recurrent_kernel) + tf.matmul(x, b)
        outputs = tf.matmul(h, c) + (x * d if d.shape.rank == 1 else tf.matmul(x, d))
        return tf.cast(outputs, self.compute_dtype), [tf.cast(h, states[0].dtype)]

    def eigenvalues(self):
        """Those of all blocks, complex128 `[N]`, in float64 from the weights."""
        (a,) = stored_weights(self, self, "A")
        return np.linalg.eigvals(a).astype(complex).reshape(-1)

    def get_config(self):
        initializer = keras.initializers.serialize(self.recurrent_initializer)
        own = {"heads": self.heads, "recurrent_initializer": initializer}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="rnnzoo")
class LinearRNN(LinearRecurrent):
    r"""A linear recurrence with a dense matrix, or with a block for each of several heads.

    $$h_t = A h_{t-1} + B x_t,\qquad y_t = C h_t + D x_t,\qquad
      A=\mathrm{diag}(A_1,\dots,A_{heads})$$

    With `heads = N/2` the blocks are 2 by 2, and each may hold one pair of complex eigenvalues: the
    recurrence of a complex diagonal layer with N/2 states, in real numbers. With `heads = N` all
    eigenvalues are real.

    Args:
        units: Positive integer, the size of the outputs.
        heads: Positive integer (default 1: dense), a divisor of N.
        state_size: Positive integer `N`, the size of the state; None (default): `units`.
        recurrent_initializer: A Keras initializer, asked for each block `[N/heads, N/heads]` with
            a seed of its own; None (default): `rnnzoo.initializers.TeacherEigenvalues()`, whose
            eigenvalues have moduli tanh|l| of a random matrix's l.
        seed: Non-negative integer or None, for every random draw at build.
        form: `"auto"`, `"xla"`, `"adjoint"` or `"plain"` (see `rnnzoo.recurrences`); take
            `"plain"` for second derivatives.
        shards: Number of independent loops over parts of the batch; None (default): one a core,
            where each has work enough.
        **kwargs: The arguments of `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `zero_output_for_mask`, `name`, `dtype` ...;
            `unroll=True` is refused.

    Weights: `A` `[heads, N/heads, N/heads]`, `B` `[N, F]`, `C` `[units, N]`, `D` `[F]` where
    `units` equals F, else `[units, F]`. At build B has the variance 1/F, C 1/N, D 1 (a matrix:
    1/F). Nothing keeps the eigenvalues inside the unit circle. A step is one product with the whole
    `[N, N]` matrix, zeros included, whatever the number of heads.

    Inputs `[B, T, F]`; outputs `[B, units]`, or `[B, T, units]` with `return_sequences`, in the
    compute dtype. One state, `[B, N]`; weights, state and arithmetic are float32 under mixed
    precision. A masked step changes nothing: the state is carried and the output repeated (zero
    before the first real step).

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Source: Zucchet and Orvieto, *Recurrent neural networks: vanishing and exploding gradients are
    not the end of the story* (2024), section 5: the dense student and its block-diagonal ablation.

    >>> import numpy as np
    >>> layer = LinearRNN(4, heads=3, state_size=6, return_sequences=True, seed=1)
    >>> layer(np.ones([2, 10, 3], "float32")).shape
    TensorShape([2, 10, 4])
    >>> bool(abs(layer.eigenvalues()).max() <= layer.contraction())
    True
    """

    cell_arguments = ("units", "heads", "state_size", "recurrent_initializer", "seed")

    def __init__(
        self,
        units: int,
        heads: int = 1,
        state_size: int | None = None,
        recurrent_initializer: Any = None,
        seed: int | None = None,
        form: str = "auto",
        shards: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = LinearRNNCell(
            units,
            heads,
            state_size,
            recurrent_initializer,
            seed,
            name="linear_rnn_cell",
            **shared(kwargs),
        )
        super().__init__(cell, **kwargs)
        self._set_form(form, shards)

    def recur(self, sequences, initial_state, mask, training):
        recurrent_kernel, b, c, d = self.cell.matrices()
        x = real_steps(tf.cast(sequences, self.cell.state_dtype), mask)
        states, last = simple_rnn(
            x,
            *initial_state,
            b,
            recurrent_kernel,
            activation="linear",
            mask=mask,
            form=self._form_for(training),
            shards=self.shards,
        )
        outputs = tf.tensordot(states, c, 1)
        outputs += x * d if d.shape.rank == 1 else tf.tensordot(x, d, 1)
        return repeated(outputs, mask), [last]

    def contraction(self, input_bound: float | None = None) -> float:
        r"""An upper bound of $\|A\|_2$, the largest of the blocks' norms, in float64.

        It is the gain of a step in the 2-norm for all states and, the recurrence being linear, for
        all inputs: `input_bound` makes no difference. It may be 1 or more.
        """
        if input_bound is not None:
            _checks.real("input_bound", input_bound, 0.0)
        (a,) = stored_weights(self, self.cell, "A")
        norms = np.linalg.norm(a, 2, axis=(1, 2))
        return float(norms.max() * (1.0 + spectral_norm_slack(a.shape[1:])))

    def get_config(self):
        return {**super().get_config(), "shards": self.shards}
