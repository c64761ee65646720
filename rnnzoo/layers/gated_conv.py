"""GatedConv: the gated convolutional network (GCNN), causal convolutions with linear gates."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.layers._causal import Causal, CausalCell, at_least_two
from rnnzoo.layers._recurrent import shared


@keras.saving.register_keras_serializable(package="rnnzoo")
class GatedConvCell(CausalCell):
    """Residual blocks of gated convolutions; a step is the same network on its past inputs."""

    own_arguments = (*CausalCell.own_arguments, "levels", "kernel_size", "bottleneck")

    def __init__(
        self,
        units,
        levels,
        kernel_size,
        bottleneck,
        dropout,
        weight_norm,
        kernel_initializer,
        seed,
        **kwargs,
    ):
        super().__init__(units, dropout, weight_norm, kernel_initializer, seed, **kwargs)
        self.levels = _checks.integer("levels", levels)
        self.kernel_size = at_least_two("kernel_size", kernel_size)
        self.bottleneck = _checks.optional_integer("bottleneck", bottleneck)
        for level in range(self.levels):
            self._add_block(level, None if level == 0 else units)
            self.dropouts.append(self._dropout())

    def _add_block(self, level, channels):
        """The convolution, or between one to the bottleneck's width and one back."""
        units, inner, size = self.units, self.bottleneck, self.kernel_size
        shapes = [("conv", units, size)]
        if inner is not None:
            shapes = [("narrow", inner, 1), ("conv", inner, size), ("widen", units, 1)]
        for name, filters, taps in shapes:
            # Both halves of a gated unit in one product: X*W+b and X*V+c.
            conv = self._conv(2 * filters, taps, 1, channels, name=f"level{level}_{name}")
            self.convs.append(conv)
            channels = filters

    def build(self, input_shape):
        super().build(input_shape)
        self._build_residual()

    def network(self, x, conv, training):
        size = len(self.convs) // self.levels
        for level in range(self.levels):
            hidden = x
            for layer in self.convs[level * size : (level + 1) * size]:
                value, gate = tf.split(conv(layer, hidden), 2, axis=-1)
                hidden = value * tf.sigmoid(gate)
            hidden = self.dropouts[level](hidden, training=training)
            if level == 0 and self.residual is not None:
                x = self.residual(x)
            x = hidden + x
        return x


@keras.saving.register_keras_serializable(package="rnnzoo")
class GatedConv(Causal):
    r"""The gated convolutional network (GCNN): causal convolutions with gated linear units.

    $$h(X) = (X * W + b) \otimes \sigma(X * V + c),\qquad y = D\,h(X) + R X$$

    in each of `levels` residual blocks, with $D$ spatial dropout and $R$ the identity, or a 1x1
    convolution in the first block where F differs from `units`. With a bottleneck, $h$ is three
    gated convolutions: 1x1 to `bottleneck` channels, `kernel_size` among them, 1x1 to `units`.
    Weight normalisation: $W = g\,v/\lVert v\rVert$ for each output channel.

    Args:
        units: Positive integer, the channels between blocks.
        levels: Positive integer (default 8), the number of blocks.
        kernel_size: Integer of at least 2 (default 4).
        bottleneck: Positive integer, or None (default): one convolution a block.
        dropout: Number in [0, 1) (default 0): the share of channels dropped, each for all time,
            at the end of each block's convolutions.
        weight_norm: Boolean (default True). `gain` starts at the norm of the first `kernel`.
        kernel_initializer: A Keras initializer (default `"he_normal"`). Each convolution draws its
            own values.
        seed: Non-negative integer or None, for the weights and the dropout.
        **kwargs: The arguments of `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `zero_output_for_mask`, `name`, `dtype` ...;
            `unroll=True` is refused.

    `layer.receptive_field` is $1 + \texttt{levels}\,(\texttt{kernel\_size} - 1)$: the output at t
    depends on that many inputs up to t, and on no other. Weights of a convolution to `n` channels:
    `kernel` `[taps, channels, 2 n]` (W, then V), `gain` and `bias` `[2 n]`.

    Inputs `[B, T, F]`; outputs `[B, units]`, or `[B, T, units]` with `return_sequences`, in the
    compute dtype, as are the states: for each block the past inputs of its convolution, oldest
    first, `[B, (kernel_size-1) channels]`, zeros at the beginning. A masked step does not happen:
    the outputs at real steps are those of the sequence without it, wherever it stands, the states
    stay, and its own output repeats the one before (zeros before the first real step, or
    everywhere with `zero_output_for_mask`).

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Source: Dauphin, Fan, Auli and Grangier, *Language Modeling with Gated Convolutional Networks*
    (ICML 2017).

    >>> import numpy as np
    >>> layer = GatedConv(8, levels=3, kernel_size=4, bottleneck=2)
    >>> layer(np.ones([2, 10, 3], "float32")).shape
    TensorShape([2, 8])
    >>> layer.receptive_field
    10
    """

    def __init__(
        self,
        units: int,
        levels: int = 8,
        kernel_size: int = 4,
        bottleneck: int | None = None,
        dropout: float = 0.0,
        weight_norm: bool = True,
        kernel_initializer: Any = "he_normal",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = GatedConvCell(
            units,
            levels,
            kernel_size,
            bottleneck,
            dropout,
            weight_norm,
            kernel_initializer,
            seed,
            name="gatedconv_cell",
            **shared(kwargs),
        )
        super().__init__(cell, **kwargs)
