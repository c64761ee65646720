"""Which layers act on each time step alone, so that a model may be cut between any two steps."""

import keras

_RECURRENT_REFUSED = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)

_ALWAYS = frozenset(
    getattr(keras.layers, name)
    for name in (
        "Activation",
        "ActivityRegularization",
        "Add",
        "AlphaDropout",
        "Average",
        "Dense",
        "Dropout",
        "ELU",
        "Embedding",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "LeakyReLU",
        "Masking",
        "Maximum",
        "Minimum",
        "Multiply",
        "ReLU",
        "Rescaling",
        "ReversibleEmbedding",
        "Subtract",
        "TimeDistributed",
    )
)
_OVER_FEATURES = frozenset(
    getattr(keras.layers, name)
    for name in ("Concatenate", "LayerNormalization", "RMSNormalization", "Softmax")
)
# fmt: off
_OPERATIONS = frozenset((
    "Absolute", "Add", "Cast", "Clip", "Cos", "Divide", "Elu", "Equal", "Exp", "Expm1", "Gelu",
    "Greater", "GreaterEqual", "Less", "LessEqual", "Log", "Log1p", "LogicalAnd", "LogicalNot",
    "LogicalOr", "Maximum", "Minimum", "Multiply", "Negative", "NotEqual", "Power", "Relu",
    "Sigmoid", "Sign", "Silu", "Sin", "Softplus", "Sqrt", "Square", "Subtract", "Tanh",
    "TrueDivide", "Where",
))
# fmt: on

_WHY = {
    "BatchNormalization": "its training statistics run over all time steps",
    "Bidirectional": "it reads the sequence from its end too",
    "Flatten": "it joins all time steps",
    "MultiHeadAttention": "what it needs of the past grows with time",
    "TransformerEncoder": "what its attention needs of the past grows with time",
    "Lambda": "what its function does to time cannot be known",
    "Reshape": "it may move the time axis",
    "RepeatVector": "it makes a time axis of its own",
}


def why_not(operation, inputs):
    """None for an operation that acts on each step alone, else the reason why it may not pass.

    `inputs` are the symbolic tensors it is called with, at least one of which has a time axis.
    """
    kind = type(operation)
    if not isinstance(operation, keras.layers.Layer):
        return _why_not_operation(operation, inputs)
    if kind in _ALWAYS or getattr(kind, "acts_on_each_step", False):
        return None
    if kind in _OVER_FEATURES:
        axis = getattr(operation, "axis", -1)
        if _is_last(axis, inputs[0].ndim):
            return None
        return f"it works over axis {axis}, not over the features alone"
    if kind is keras.layers.PReLU:
        shared = operation.shared_axes or ()
        return None if 1 in shared else "it has one slope for each time step (no shared_axes=[1])"
    if kind.__name__ in _WHY:
        return _WHY[kind.__name__]
    return "it is not known to act on each time step alone"


def why_not_recurrent(layer):
    """None for a recurrent layer whose state can be an input and an output, else the reason."""
    if isinstance(layer, _RECURRENT_REFUSED):
        return "its state is an image"
    if layer.go_backwards:
        return "go_backwards=True reads the sequence from its end"
    sizes = keras.tree.flatten(layer.state_size)
    if not all(isinstance(size, int) for size in sizes):
        return f"its state_size is {layer.state_size}, not made of integers"
    return None


def _why_not_operation(operation, inputs):
    name = type(operation).__name__
    if name in _OPERATIONS:
        return None
    if name in ("Any", "All") and _is_last(operation.axis, inputs[0].ndim):
        return None
    return "this operation is not known to act on each time step alone"


def _is_last(axis, rank):
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    return rank > 2 and all(a is not None and a % rank == rank - 1 for a in axes)
