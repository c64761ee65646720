"""The graph of layers inside of a model."""

import keras


def functional_of_sequential(model):
    """The Functional model inside of a Sequential one; None before it is built.

    For all that reads a model's graph. Without it Sequential models could not be streamed,
    certified, cut or exported.
    """
    return model._functional


def is_functional(model):
    """Whether a model has a graph of layers.

    For the refusal of subclassed models by name, before anything is done with them.
    """
    return isinstance(model, keras.Model) and hasattr(model, "_run_through_graph")


def run_through_graph(functional, inputs, call):
    """Run a graph on new inputs, with `call(operation, *args, **kwargs)` for each of its nodes.

    For a model that is rewired: over the same weights, with explicit states or windows.
    """
    return functional._run_through_graph(inputs, operation_fn=lambda op: op, call_fn=call)


def nodes(functional):
    """The graph's nodes, inputs among them, in an order in which they can be computed.

    For walks over the graph: certificates, diagnostics, exports.
    """
    by_depth = functional._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def node_that_made(tensor):
    """The node of the call that a symbolic tensor came from.

    For cutting a model in two at a tensor.
    """
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def last_input_shape(layer):
    """The shape of the first input of a layer's first call in a graph.

    For an export that needs the features of a layer which keeps no record of them itself.
    """
    return layer._inbound_nodes[0].input_tensors[0].shape


def flat_layers(model):
    """The model or layer itself and all layers inside of it, at any depth.

    For all that asks every layer: annealing, forms, seeds, checks of dtypes. `Model.layers` has the
    outermost only.
    """
    return model._flatten_layers()


def flat_inputs(functional, x):
    """Data for a Functional model as a flat list, in the order of its inputs.

    For models that are given dicts or nested inputs.
    """
    return functional._standardize_inputs(x)
