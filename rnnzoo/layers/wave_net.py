"""WaveNet: dilated causal convolutions with gated tanh units, residual and skip connections."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.layers._causal import Causal, CausalCell, at_least_two, dilations
from rnnzoo.layers._recurrent import shared


@keras.saving.register_keras_serializable(package="rnnzoo")
class WaveNetCell(CausalCell):
    """Gated blocks that add to a residual and to a skip sum; a step is the same network."""

    own_arguments = (*CausalCell.own_arguments, "levels", "repeats", "kernel_size", "skip_units")

    def __init__(
        self,
        units,
        levels,
        repeats,
        kernel_size,
        skip_units,
        dropout,
        weight_norm,
        kernel_initializer,
        seed,
        **kwargs,
    ):
        super().__init__(units, dropout, weight_norm, kernel_initializer, seed, **kwargs)
        self.levels = _checks.integer("levels", levels)
        self.repeats = _checks.integer("repeats", repeats)
        self.kernel_size = at_least_two("kernel_size", kernel_size)
        self.skip_units = _checks.optional_integer("skip_units", skip_units)
        self.skip_width = skip = units if skip_units is None else skip_units
        self.convs.append(self._conv(units, kernel_size, name="input_conv"))
        self.outs, blocks = [], dilations(self.levels) * self.repeats
        for block, dilation in enumerate(blocks):
            # Both halves of a gated unit in one product, and the residual and skip outputs too;
            # the residual after the last block would go nowhere.
            name, last = f"block{block}", block == len(blocks) - 1
            gated = self._conv(2 * units, kernel_size, dilation, units, name=f"{name}_conv")
            self.convs.append(gated)
            self.dropouts.append(self._dropout())
            self.outs.append(self._conv(skip if last else units + skip, name=f"{name}_out"))
        self.head = self._conv(units, name="head")

    def build(self, input_shape):
        super().build(input_shape)
        for out in self.outs:
            out.build((None, None, self.units))
        self.head.build((None, None, self.skip_width))

    def network(self, x, conv, training):
        x, total = conv(self.convs[0], x), 0.0
        for gated, dropout, out in zip(self.convs[1:], self.dropouts, self.outs):
            value, gate = tf.split(conv(gated, x), 2, axis=-1)
            hidden = dropout(tf.tanh(value) * tf.sigmoid(gate), training=training)
            hidden = out(hidden)
            total += hidden[..., : self.skip_width]
            if out is not self.outs[-1]:
                x += hidden[..., self.skip_width :]
        return tf.nn.relu(self.head(tf.nn.relu(total)))


@keras.saving.register_keras_serializable(package="rnnzoo")
class WaveNet(Causal):
    r"""WaveNet: gated tanh units over dilations 1, 2, 4, ..., repeated, with skip connections.

    $$x_0 = W_{in} * x,\quad z_i = D\,\tanh(W_i *_{d_i} x_i) \otimes \sigma(V_i *_{d_i} x_i),\quad
      x_{i+1} = x_i + R_i z_i,\qquad y = \rho\big(H \rho(\textstyle\sum_i S_i z_i)\big)$$

    with biases everywhere, $\rho$ ReLU, $D$ spatial dropout and the 1x1 convolutions $R_i$, $S_i$
    and $H$. A Dense layer after it is the published head.

    Args:
        units: Positive integer, the channels of the residual stream and of the output.
        levels: Positive integer (default 10): dilations 1 to $2^{\texttt{levels}-1}$, so 512.
        repeats: Positive integer (default 2), how often these dilations are run through.
        kernel_size: Integer of at least 2 (default 2), also of the convolution at the input.
        skip_units: Positive integer, the channels of the skip sum; None (default): `units`.
        dropout: Number in [0, 1) (default 0): the share of channels dropped, each for all time,
            after each gate. Not in the paper.
        weight_norm: Boolean (default False, as in the paper).
        kernel_initializer: A Keras initializer (default `"glorot_uniform"`). Each convolution
            draws its own values.
        seed: Non-negative integer or None, for the weights and the dropout.
        **kwargs: The arguments of `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `zero_output_for_mask`, `name`, `dtype` ...;
            `unroll=True` is refused.

    `layer.receptive_field` is
    $1 + (\texttt{kernel\_size}-1)(1 + \texttt{repeats}\,(2^{\texttt{levels}}-1))$: the output at t
    depends on that many inputs up to t, and on no other. Weights of a gated convolution: `kernel`
    `[kernel_size, units, 2 units]` (W, then V), `bias` `[2 units]`; $S_i$ and $R_i$ are one kernel
    `[1, units, skip_units + units]`, the last block's $S_i$ alone.

    Inputs `[B, T, F]`; outputs `[B, units]`, or `[B, T, units]` with `return_sequences`, in the
    compute dtype, as are the states: for each convolution the past inputs that it still needs,
    oldest first, `[B, (kernel_size-1) d channels]`, zeros at the beginning. A masked step does not
    happen: the outputs at real steps are those of the sequence without it, wherever it stands, the
    states stay, and its own output repeats the one before (zeros before the first real step, or
    everywhere with `zero_output_for_mask`).

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Source: van den Oord et al., *WaveNet: A Generative Model for Raw Audio* (2016).

    >>> import numpy as np
    >>> layer = WaveNet(4, levels=3, repeats=2, return_sequences=True)
    >>> layer(np.ones([2, 10, 3], "float32")).shape
    TensorShape([2, 10, 4])
    >>> layer.receptive_field
    16
    """

    def __init__(
        self,
        units: int,
        levels: int = 10,
        repeats: int = 2,
        kernel_size: int = 2,
        skip_units: int | None = None,
        dropout: float = 0.0,
        weight_norm: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = WaveNetCell(
            units,
            levels,
            repeats,
            kernel_size,
            skip_units,
            dropout,
            weight_norm,
            kernel_initializer,
            seed,
            name="wavenet_cell",
            **shared(kwargs),
        )
        super().__init__(cell, **kwargs)
