"""The graph of a Functional or Sequential model: its nodes, what they are, and cutting it in two.

What streaming, certificates, diagnostics and export all do with a model before they do their own.
"""

from __future__ import annotations

from typing import Any

import keras

from rnnzoo import _keras
from rnnzoo.layers.running_mean import RunningMean


def functional_of(model: keras.Model) -> keras.Model:
    """The Functional graph of a Functional or built Sequential model.

    Raises:
        ValueError: for an unbuilt Sequential model, or a model whose graph is not known.
    """
    if isinstance(model, keras.Sequential):
        inner = _keras.functional_of_sequential(model)
        if not model.built or inner is None:
            raise ValueError(
                "`model` must be built: give it an Input or call it once. "
                f"Received: the unbuilt Sequential {model.name!r}"
            )
        return inner
    if _keras.is_functional(model):
        return model
    raise ValueError(
        "`model` must be a Functional or Sequential keras model, whose graph of layers is known. "
        f"Received: {type(model).__name__} {getattr(model, 'name', '')!r}"
    )


def calls(functional: keras.Model) -> list:
    """The graph's nodes but its inputs, in the order in which they can be computed."""
    return [node for node in _keras.nodes(functional) if not node.is_input]


def recurrent_calls(model: keras.Model) -> list:
    """The calls of recurrent layers in the graph, in its order."""
    return [node for node in calls(functional_of(model)) if is_recurrence(node.operation)]


def is_recurrence(operation: keras.Operation) -> bool:
    """Whether an operation is a recurrent layer, and not a running mean.

    A mean forgets nothing: to what truncates or measures recurrences it is a pooling over time.
    """
    return isinstance(operation, keras.layers.RNN) and not isinstance(operation, RunningMean)


def call_of(model: keras.Model, name: str) -> Any:
    """The first call of the layer `name` in the graph of a Functional or Sequential model."""
    functional = functional_of(model)
    for node in _keras.nodes(functional):
        if node.operation.name == name:
            return node
    raise ValueError(
        f"`layer` must be one of the layers {[layer.name for layer in functional.layers]}. "
        f"Received: layer={name!r}"
    )


def hidden_recurrence(operation: keras.Operation) -> bool:
    """Whether a recurrent layer lies inside an operation that is none itself."""
    inner = _keras.flat_layers(operation) if isinstance(operation, keras.layers.Layer) else []
    return any(isinstance(layer, keras.layers.RNN) for layer in inner)


def keep_masks(layer: keras.layers.Layer) -> None:
    """Have Keras's own recurrent layers, this one or those inside of it, hand their mask on.

    Keras 3.16 ends a mask at its recurrent layers, `Bidirectional` and `TimeDistributed`: what
    stands behind them, a pooling or a further layer, would read padding.
    """
    kinds = (keras.layers.RNN, keras.layers.Bidirectional, keras.layers.TimeDistributed)
    for inner in _keras.flat_layers(layer):
        if isinstance(inner, kinds):
            inner.supports_masking = True


def feeds_embedding(functional: keras.Model, tensor: keras.KerasTensor) -> bool:
    """Whether a rank-2 input is a sequence of tokens: the only way it can have a time axis."""
    for node in _keras.nodes(functional):
        if not any(t is tensor for t in node.input_tensors):
            continue
        operation = node.operation
        if isinstance(operation, keras.layers.Embedding):
            return True
        if isinstance(operation, (keras.Sequential, keras.Model)):
            inner = functional_of(operation)
            for outer, own in zip(node.input_tensors, inner.inputs):
                if outer is tensor and feeds_embedding(inner, own):
                    return True
    return False


def head(model: keras.Model, tensors: Any) -> keras.Model:
    """The model from the inputs, in their structure, to tensors inside of the graph."""
    return keras.Model(functional_of(model).input, tensors)


def cut(
    model: keras.Model, tensor: keras.KerasTensor
) -> tuple[keras.Model, keras.Model, list[int]]:
    """(model from the inputs to `tensor`, model from it and the inputs still needed to the end).

    Also which of the inputs those are, as positions.
    """
    functional = functional_of(model)
    needed, met = set(), set()
    waiting = [t for t in functional.outputs if t is not tensor]
    while waiting:
        current = waiting.pop()
        if id(current) in met or current is tensor:
            continue
        met.add(id(current))
        needed.update(i for i, t in enumerate(functional.inputs) if t is current)
        waiting += _keras.node_that_made(current).input_tensors
    others = sorted(needed)
    inputs = [tensor, *(functional.inputs[i] for i in others)]
    return head(model, tensor), keras.Model(inputs, functional.outputs), others
