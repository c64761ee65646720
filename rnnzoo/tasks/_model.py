"""The model of a task: recurrent layers under a Dense head."""

import math

import keras


def build(layer, features, width, per_step, head, name, entry=None):
    """A Functional model `[B, T, features] -> [B, width]`, or `[B, T, width]` if `per_step`.

    `entry` is a layer that stands below the recurrent ones.
    """
    inputs = keras.Input(shape=(None, features), name="sequence")
    hidden = recurrent(layer, inputs if entry is None else entry(inputs), per_step)
    return keras.Model(inputs, dense(hidden, width, head), name=name)


def recurrent(layer, hidden, per_step):
    """The outputs of the recurrent layer, or of the last of a list, on `hidden [B, T, F]`."""
    layers = _recurrent_layers(layer)
    for position, one in enumerate(layers):
        _set_return_sequences(one, per_step or position < len(layers) - 1)
        hidden = one(hidden)
    return hidden


def dense(hidden, width, name):
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


def _recurrent_layers(layer):
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


def _set_return_sequences(layer, wanted):
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
            _set_return_sequences(inner, wanted)
            if isinstance(layer, keras.layers.Bidirectional):
                # Keras ties the two in the constructor of Bidirectional.
                inner.zero_output_for_mask = wanted
    if layer.return_sequences != wanted:
        layer.return_sequences = wanted
