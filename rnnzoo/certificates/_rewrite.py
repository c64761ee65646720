"""A model with some of its layers replaced, over the same weights."""

import keras

from rnnzoo import _checks, _keras
from rnnzoo.graphs import functional_of, hidden_recurrence, is_recurrence
from rnnzoo.layers.truncated_wrapper import TruncatedWrapper


def truncated(model, k):
    """`model` with every recurrent layer in a window of `k` steps."""
    k = _checks.integer("k", k)

    def window(layer):
        return TruncatedWrapper(layer, k, name=layer.name) if is_recurrence(layer) else layer

    return Rewrite(keras.layers.RNN, window, "truncated").model(model)


def recurrent(model):
    """The recurrent model of which `model` is the truncated one."""
    return Rewrite(TruncatedWrapper, lambda wrapper: wrapper.layer, "recurrent").model(model)


class Rewrite:
    """Replaces layers of the class `kind` by `change(layer)`, each once, in nested models too."""

    def __init__(self, kind, change, suffix):
        self.kind, self.change, self.suffix = kind, change, suffix
        self.changed = {}

    def model(self, model, name=None):
        functional = functional_of(model)
        inputs = [
            keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in functional.inputs
        ]
        outputs = _keras.run_through_graph(functional, inputs, self._call)
        inputs = keras.tree.pack_sequence_as(functional.input, inputs)
        return keras.Model(inputs, outputs, name=name or f"{model.name}_{self.suffix}")

    def _call(self, operation, *args, **kwargs):
        if isinstance(operation, self.kind):
            if len(args) > 1 or kwargs.get("initial_state") is not None:
                raise ValueError(
                    "`model` must not give its recurrent layers an initial state: every window "
                    f"starts from zero. Received: one for {operation.name!r}"
                )
            return self._once(operation, self.change)(*args, **kwargs)
        if isinstance(operation, (keras.Sequential, keras.Model)):
            nested = self._once(operation, lambda m: self.model(m, name=m.name))
            return nested(*args, **kwargs)
        if not isinstance(operation, keras.layers.RNN) and hidden_recurrence(operation):
            raise ValueError(
                "`model` must have its recurrent layers in the open. Received: "
                f"{type(operation).__name__} {operation.name!r}, which holds one inside"
            )
        return operation(*args, **kwargs)

    def _once(self, layer, change):
        if id(layer) not in self.changed:
            self.changed[id(layer)] = change(layer)
        return self.changed[id(layer)]
