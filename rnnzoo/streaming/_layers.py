"""The layers of an explicit-state model that its original does not have."""

import keras

from rnnzoo import _keras
from rnnzoo.layers import _masks
from rnnzoo.streaming._states import state_dtype

_PACKAGE = "rnnzoo"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class CarryOutput(keras.layers.Layer):
    """Outputs at masked steps before a chunk's first real one repeat the previous chunk's last.

    Keras shows zeros there, because to it every call is a beginning. Returns the outputs and the
    last of them, `[B, H]`, for the next chunk.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, outputs, previous, present=None):
        sequence = len(outputs.shape) == 3
        if present is not None:
            seen = _masks.shown(present, zero_output_for_mask=False)
            if sequence:
                outputs = keras.ops.where(seen[..., None], outputs, previous[:, None])
            else:
                some = keras.ops.any(present, axis=1, keepdims=True)
                outputs = keras.ops.where(some, outputs, previous)
        if not sequence:
            return outputs, outputs
        # Without any step at all the previous output stays.
        shown = keras.ops.concatenate([previous[:, None], outputs[:, -1:]], axis=1)
        return outputs, shown[:, -1]

    def compute_mask(self, inputs, previous_mask):
        return [previous_mask, None]


@keras.saving.register_keras_serializable(package=_PACKAGE)
class CellStep(keras.layers.Layer):
    """One step of a recurrent layer: its cell called once on `[B, 1, F]`, with no loop."""

    def __init__(self, layer, **kwargs):
        # Without autocast, because a cell may keep its states in full precision.
        super().__init__(dtype=layer.dtype_policy, autocast=False, **kwargs)
        self.layer = layer
        self.supports_masking = True
        self.built = True

    def call(self, sequences, states, present=None, training=False):
        layer = self.layer
        states = keras.tree.pack_sequence_as(layer.state_size, states)
        arguments = {"training": training} if _keras.takes_training(layer.cell) else {}
        output, new = layer.cell(sequences[:, 0], states, **arguments)
        _keras.forget_dropout_masks(layer, layer.cell)
        new = keras.tree.flatten(new)
        if present is not None:
            new = [keras.ops.where(present, n, o) for n, o in zip(new, keras.tree.flatten(states))]
            if layer.zero_output_for_mask:
                output = keras.ops.where(present, output, keras.ops.zeros_like(output))
        output = keras.ops.cast(output, self.compute_dtype)
        output = output[:, None] if layer.return_sequences else output
        return [output, *(keras.ops.cast(n, state_dtype(layer)) for n in new)]

    def compute_mask(self, inputs, previous_mask):
        kept = self.layer.return_sequences and self.layer.supports_masking
        output_mask = previous_mask if kept else None
        return [output_mask] + [None] * len(keras.tree.flatten(self.layer.state_size))

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class Renamed(keras.layers.Layer):
    """An operation under another name, where two nested models use one name for two."""

    def __init__(self, operation, **kwargs):
        super().__init__(dtype=getattr(operation, "dtype_policy", None), **kwargs)
        self.operation = operation
        self.supports_masking = getattr(operation, "supports_masking", False)
        self.built = True

    def call(self, *args, **kwargs):
        return self.operation(*args, **kwargs)

    def compute_mask(self, inputs, previous_mask):
        return self.operation.compute_mask(inputs, previous_mask)

    def get_config(self):
        operation = keras.saving.serialize_keras_object(self.operation)
        return {**super().get_config(), "operation": operation}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("operation")), **config)


def twin_of(layer, name):
    """A layer over the same cell that returns its state; every run-time attribute is shared."""
    if type(layer) is keras.layers.RNN:
        twin = keras.layers.RNN(
            layer.cell,
            return_sequences=layer.return_sequences,
            return_state=True,
            zero_output_for_mask=layer.zero_output_for_mask,
            name=name,
            dtype=layer.dtype_policy,
        )
    else:
        changed = {"return_state": True, "stateful": False, "unroll": False, "name": name}
        config = {k: v for k, v in layer.get_config().items() if k != "activity_regularizer"}
        changed = {k: v for k, v in changed.items() if k in config}
        twin = type(layer).from_config({**config, **changed})
        _replace(twin, "cell", layer.cell)
    twin.activity_regularizer = None  # would see the states too; applied to the outputs alone
    for name, value in vars(layer).items():
        if isinstance(value, keras.random.SeedGenerator):
            _replace(twin, name, value)
    if hasattr(layer, "share_detach_state"):
        twin.share_detach_state(layer)
    twin.supports_masking = layer.supports_masking
    twin.built = True
    return twin


def _replace(layer, name, value):
    """Set an attribute so that nothing of the old one stays among the layer's variables."""
    _keras.untrack(layer, getattr(layer, name))
    setattr(layer, name, value)
