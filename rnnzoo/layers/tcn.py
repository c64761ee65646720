"""TCN: the temporal convolutional network, dilated causal convolutions in residual blocks."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.layers._causal import Causal, CausalCell, at_least_two, dilations
from rnnzoo.layers._recurrent import shared


@keras.saving.register_keras_serializable(package="rnnzoo")
class TCNCell(CausalCell):
    """Blocks of two dilated convolutions; a step is the same network on its past inputs."""

    own_arguments = (
        *CausalCell.own_arguments,
        "levels",
        "kernel_size",
        "start",
        "dropout_kind",
    )

    def __init__(
        self,
        units,
        levels,
        kernel_size,
        dropout,
        weight_norm,
        kernel_initializer,
        seed,
        start="normal",
        dropout_kind="channel",
        **kwargs,
    ):
        self.start = _checks.choice("start", start, tuple(_KERNELS))
        self.dropout_kind = _checks.choice("dropout_kind", dropout_kind, ("channel", "element"))
        if kernel_initializer is None:
            kernel_initializer = _KERNELS[start]()
        super().__init__(units, dropout, weight_norm, kernel_initializer, seed, **kwargs)
        self.levels = _checks.integer("levels", levels)
        self.kernel_size = at_least_two("kernel_size", kernel_size)
        for level, dilation in enumerate(dilations(self.levels)):
            for i in (1, 2):
                channels = None if (level, i) == (0, 1) else units
                name = f"level{level}_conv{i}"
                self.convs.append(self._conv(units, kernel_size, dilation, channels, name=name))
                self.dropouts.append(self._dropout())

    def _conv(self, *args, **options):
        conv = super()._conv(*args, **options)
        if self.start == "torch":
            conv.uniform_bias, conv.bias_seed = True, self._next_seed()
        return conv

    def _dropout(self):
        if self.dropout_kind == "channel":
            return super()._dropout()
        return keras.layers.Dropout(self.dropout, seed=self._next_seed(), dtype=self.dtype_policy)

    def build(self, input_shape):
        super().build(input_shape)
        self._build_residual()

    def network(self, x, conv, training):
        for level in range(self.levels):
            hidden = x
            for i in (2 * level, 2 * level + 1):
                hidden = tf.nn.relu(conv(self.convs[i], hidden))
                hidden = self.dropouts[i](hidden, training=training)
            if level == 0 and self.residual is not None:
                x = self.residual(x)
            x = tf.nn.relu(hidden + x)
        return x


def _small():
    return keras.initializers.RandomNormal(stddev=0.01)


def _within_the_fan():
    """Uniform within 1/sqrt(fan in), fan in being k times the channels."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


_KERNELS = {"normal": _small, "torch": _within_the_fan}


@keras.saving.register_keras_serializable(package="rnnzoo")
class TCN(Causal):
    r"""The temporal convolutional network: residual blocks of two dilated causal convolutions.

    $$z = D\,\rho(W_1 *_d x + b_1),\quad z' = D\,\rho(W_2 *_d z + b_2),\quad
      y = \rho(z' + R x),\qquad d = 1, 2, 4, \dots, 2^{n-1}$$

    with $\rho$ ReLU, $D$ dropout and $R$ the identity, or a 1x1 convolution in the first
    block where F differs from `units`. Weight normalisation: $W = g\,v/\lVert v\rVert$ for each
    output channel.

    Args:
        units: Positive integer, the channels of every convolution (the paper's width).
        levels: Positive integer $n$ (default 8), the number of blocks.
        kernel_size: Integer $k$ of at least 2 (default 8).
        dropout: Number in [0, 1) (default 0): the share dropped after each ReLU inside a block.
        weight_norm: Boolean (default True). `gain` starts at the norm of the first `kernel`.
        kernel_initializer: A Keras initializer; None (default): as `start` says. Each convolution
            draws its own values.
        seed: Non-negative integer or None, for the weights and the dropout.
        start: `"normal"` (default, as published): kernels from the normal distribution of standard
            deviation 0.01, biases zero. `"torch"` (as the published code runs, whose own start has
            no effect under weight normalisation): kernels and biases uniform within
            $1/\sqrt{k\,\text{channels}}$, the start of PyTorch's `Conv1d`.
        dropout_kind: `"channel"` (default, spatial dropout): a channel is dropped for all time.
            `"element"` (as the published code has it since April 2018): single numbers are.
        **kwargs: The arguments of `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `zero_output_for_mask`, `name`, `dtype` ...;
            `unroll=True` is refused.

    `layer.receptive_field` is $1 + 2(k-1)(2^n-1)$: the output at t depends on that many inputs up
    to t, and on no other. Weights of each convolution: `kernel` `[k, channels, units]`, `gain`
    `[units]`, `bias` `[units]`.

    Inputs `[B, T, F]`; outputs `[B, units]`, or `[B, T, units]` with `return_sequences`, in the
    compute dtype, as are the states: for each convolution the past inputs that it still needs,
    oldest first, `[B, (k-1) d channels]`, zeros at the beginning. A masked step does not happen:
    the outputs at real steps are those of the sequence without it, wherever it stands, the states
    stay, and its own output repeats the one before (zeros before the first real step, or
    everywhere with `zero_output_for_mask`).

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Source: Bai, Kolter and Koltun, *An Empirical Evaluation of Generic Convolutional and Recurrent
    Networks for Sequence Modeling* (2018).

    >>> import numpy as np
    >>> layer = TCN(4, levels=3, kernel_size=2, return_sequences=True)
    >>> layer(np.ones([2, 10, 3], "float32")).shape
    TensorShape([2, 10, 4])
    >>> layer.receptive_field
    15
    """

    def __init__(
        self,
        units: int,
        levels: int = 8,
        kernel_size: int = 8,
        dropout: float = 0.0,
        weight_norm: bool = True,
        kernel_initializer: Any = None,
        seed: int | None = None,
        start: str = "normal",
        dropout_kind: str = "channel",
        **kwargs: Any,
    ) -> None:
        cell = TCNCell(
            units,
            levels,
            kernel_size,
            dropout,
            weight_norm,
            kernel_initializer,
            seed,
            start,
            dropout_kind,
            name="tcn_cell",
            **shared(kwargs),
        )
        super().__init__(cell, **kwargs)
