"""Models of recurrent layers under a Dense head: what the tasks build, and deep stacks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from rnnzoo import _checks
from rnnzoo.graphs import keep_masks
from rnnzoo.layers.running_mean import RunningMean


def stack(
    layer: keras.layers.Layer | Sequence[keras.layers.Layer],
    features: int,
    outputs: int,
    pooling: str = "mean",
    entry: keras.layers.Layer | None = None,
    head: str = "outputs",
    name: str = "stack",
    mlp: int | None = None,
    mlp_dropout: float = 0.0,
) -> keras.Model:
    r"""A deep model: recurrent layers, the mean over time or a head on each step, a Dense head.

    $$h^0 = x,\quad h^l = L_l(h^{l-1}),\quad y = W\,\frac1T\sum_t h^n_t + b
      \quad\text{or}\quad y_t = W h^n_t + b$$

    Args:
        layer: A recurrent layer or a list of them, from the first on: Keras's, this package's
            (`LRUBlock` is made for it), `Bidirectional` or `TruncatedWrapper` around one. Their
            `return_sequences` is set, unless they are built already with another setting.
        features: Positive integer F, the inputs' features.
        outputs: Positive integer U, the outputs' features.
        pooling: `"mean"` (default): over the real steps, by a `RunningMean`; `"last"`: the last
            step's output; None: a head on each step, the same for all.
        entry: A Keras layer below the first one, say a linear encoder
            `keras.layers.Dense(width)` or `keras.layers.Masking()`; None (default): nothing.
        head: Name of the head, and so of the outputs (default `"outputs"`).
        name: Name of the model (default `"stack"`).
        mlp: Positive integer M: between the pooling and the head stand batch normalization, a Dense
            layer of M units with GELU, and dropout; None (default): nothing. Not with
            `pooling=None`, where the normalization would run over time.
        mlp_dropout: Number in [0, 1) (default 0), the share that is dropped there.

    Returns:
        A Functional model from `[B, T, F]` to `[B, U]`, or to `[B, T, U]` with `pooling=None`; T
        may vary. The head is linear, its weights and bias uniform in +-1/sqrt(width), in float32
        under mixed precision. A row without any real step has the mean zero.

    The model can be cut anywhere in time (`explicit_state`, `TruncatedBPTT`, the export's `step`);
    a mean carries its sum and count.

    Raises:
        TypeError: For a layer that is not recurrent, or an argument of the wrong type.
        ValueError: For an empty list, a layer given twice, with `return_state=True`, with
            `merge_mode=None` or built with another `return_sequences`, or an argument out of its
            range.

    Source: the deep models of Orvieto et al., *Resurrecting Recurrent Neural Networks for Long
    Sequences* (2023): linear encoder, blocks, mean pooling, linear head.

    >>> from rnnzoo.layers import LRUBlock
    >>> model = stack([LRUBlock(8, dropout=0.1) for _ in range(2)], features=3, outputs=10)
    >>> model.output_shape
    (None, 10)
    """
    _checks.integer("features", features)
    _checks.integer("outputs", outputs)
    _checks.choice("pooling", pooling, ("mean", "last", None))
    _check_mlp(mlp, mlp_dropout, pooling)
    if entry is not None and not isinstance(entry, keras.layers.Layer):
        raise TypeError(f"`entry` must be a Keras layer or None. Received: entry={entry!r}")
    inputs = keras.Input(shape=(None, features), name="sequence")
    hidden = inputs if entry is None else entry(inputs)
    hidden = recurrent(layer, hidden, per_step=pooling != "last")
    if pooling == "mean":
        hidden = RunningMean(hidden.shape[-1], name="mean")(hidden)
    if mlp is not None:
        hidden = _mlp(hidden, mlp, mlp_dropout)
    return keras.Model(inputs, dense(hidden, outputs, head), name=name)


def _check_mlp(mlp, dropout, pooling):
    _checks.optional_integer("mlp", mlp)
    _checks.real("mlp_dropout", dropout, 0.0, 1.0, high_open=True)
    if mlp is not None and pooling is None:
        raise ValueError(
            "`mlp` must be None where `pooling` is None: its batch normalization would run over "
            f"time. Received: mlp={mlp}"
        )
    if mlp is None and dropout:
        raise ValueError(
            "`mlp_dropout` must be 0 where `mlp` is None, because nothing is there to be dropped. "
            f"Received: mlp_dropout={dropout}"
        )


def _mlp(hidden, units, dropout):
    hidden = keras.layers.BatchNormalization(name="mlp_norm")(hidden)
    hidden = keras.layers.Dense(units, "gelu", name="mlp")(hidden)
    return keras.layers.Dropout(dropout, name="mlp_dropout")(hidden)


def recurrent(
    layer: keras.layers.Layer | Sequence[keras.layers.Layer],
    hidden: keras.KerasTensor,
    per_step: bool,
) -> keras.KerasTensor:
    """The outputs of the recurrent layer, or of the last of a list, on `hidden [B, T, F]`."""
    layers = recurrent_layers(layer)
    for position, one in enumerate(layers):
        set_return_sequences(one, per_step or position < len(layers) - 1)
        keep_masks(one)
        hidden = one(hidden)
    return hidden


def dense(hidden: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """The head: logits or numbers, `[..., width]`."""
    bound = 1.0 / math.sqrt(hidden.shape[-1])
    return keras.layers.Dense(
        width,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        # Logits in half precision would cost the loss its accuracy.
        dtype=keras.config.dtype_policy().variable_dtype,
        name=name,
    )(hidden)


def recurrent_layers(
    layer: keras.layers.Layer | Sequence[keras.layers.Layer],
) -> list[keras.layers.Layer]:
    layers = list(layer) if isinstance(layer, (list, tuple)) else [layer]
    if not layers:
        raise ValueError("`layer` must be a recurrent layer or a list of them. Received: layer=[]")
    for one in layers:
        if not isinstance(one, keras.layers.Layer) or not hasattr(one, "return_sequences"):
            raise TypeError(
                "`layer` must be a Keras recurrent layer (an instance, not a class) or a list of "
                f"them. Received: layer={one!r}"
            )
        if getattr(one, "return_state", False):
            raise ValueError(
                f"`return_state` of the layer {one.name} must be False: the head takes outputs "
                "only. Received: return_state=True"
            )
        if getattr(one, "merge_mode", "concat") is None:
            raise ValueError(
                f"`merge_mode` of the layer {one.name} must not be None: the head takes one "
                "tensor. Received: merge_mode=None"
            )
    if len({id(one) for one in layers}) < len(layers):
        raise ValueError(
            "`layer` must not hold the same layer twice. "
            f"Received: layer={[one.name for one in layers]}"
        )
    return layers


def set_return_sequences(layer: keras.layers.Layer, wanted: bool) -> None:
    """Set `return_sequences` on the layer and on what it wraps, unless it is built already."""
    if layer.return_sequences == wanted:
        return
    if layer.built:
        raise ValueError(
            f"`return_sequences` of the layer {layer.name} must be {wanted} here, and the layer is "
            f"built already. Received: return_sequences={layer.return_sequences}"
        )
    for part in ("layer", "forward_layer", "backward_layer"):
        inner = getattr(layer, part, None)
        if isinstance(inner, keras.layers.Layer) and hasattr(inner, "return_sequences"):
            set_return_sequences(inner, wanted)
            if isinstance(layer, keras.layers.Bidirectional):
                # Keras ties the two in the constructor of Bidirectional.
                inner.zero_output_for_mask = wanted
    if layer.return_sequences != wanted:
        layer.return_sequences = wanted
