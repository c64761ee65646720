"""One recurrent layer of a model as a function of its state, its input and its weights."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _keras, graphs
from rnnzoo.diagnostics import _data
from rnnzoo.graphs import functional_of


def the_recurrent_node(model, layer, kind=keras.layers.RNN, words="recurrent"):
    """The call of the layer named `layer`; None takes the only one of that kind."""
    nodes = [n for n in graphs.recurrent_calls(model) if isinstance(n.operation, kind)]
    names = [n.operation.name for n in nodes]
    if not nodes:
        raise ValueError(
            f"`model` must have a {words} layer. Received: {model.name!r}, which has none"
        )
    if layer is None and len(nodes) > 1:
        raise ValueError(f"`layer` must name one of the {words} layers {names}. Received: None")
    if layer is not None and layer not in names:
        raise ValueError(
            f"`layer` must be one of the {words} layers {names}. Received: layer={layer!r}"
        )
    return nodes[0 if layer is None else names.index(layer)]


def model_before(model, node):
    """The model from the inputs to those of one call of a recurrent layer."""
    name, inputs = node.operation.name, node.input_tensors[0]
    given = (*node.arguments.args[1:2], node.arguments.kwargs.get("initial_state"))
    if any(state is not None for state in given):
        raise ValueError(
            "`model` must give its recurrent layers no initial state. "
            f"Received: {name!r}, which is given one"
        )
    if len(inputs.shape) != 3:
        raise ValueError(
            "`model` must have recurrent layers over inputs [B, T, F]. "
            f"Received: {name!r} over inputs of shape {inputs.shape}"
        )
    return graphs.head(model, inputs)


class LayerSteps:
    """The steps of one recurrent layer, on states side by side `[B, S]`: (h, c) of an LSTM."""

    def __init__(self, layer):
        self.layer = layer
        self.dtype = tf.float64 if layer.compute_dtype == "float64" else tf.float32

    def ordered(self, inputs):
        """The layer's inputs as `[T, B, F]`, and which steps are real, `[T, B]`, in its order."""
        mask = _keras.mask_of(inputs)
        present = np.ones(inputs.shape[:2], bool) if mask is None else np.asarray(mask, bool)
        if self.layer.go_backwards:
            inputs, present = tf.reverse(inputs, [1]), present[:, ::-1]
        return tf.transpose(inputs, [1, 0, 2]), np.ascontiguousarray(present.T)

    def start(self, rows):
        """The state before the first step, `[B, S]`."""
        return self._flat(self.layer.get_initial_state(batch_size=rows))

    def step(self, state, x):
        """One step on states side by side, `[B, S]` -> `[B, S]`."""
        layer, dtype = self.layer, self.layer.compute_dtype
        parts = tf.split(tf.cast(state, dtype), keras.tree.flatten(layer.state_size), axis=-1)
        parts = keras.tree.pack_sequence_as(layer.state_size, parts)
        options = {"training": False} if _keras.takes_training(layer.cell) else {}
        return self._flat(layer.cell(tf.cast(x, dtype), parts, **options)[1])

    def states(self, inputs, present):
        """The state after each step, `[T, B, S]`; masked steps carry it."""

        def step(state, at):
            x, real = at
            return tf.where(real[:, None], self.step(state, x), state)

        return tf.scan(step, (inputs, present), self.start(tf.shape(inputs)[1]))

    def entering(self, inputs, present):
        """The state before each step, `[T, B, S]`."""
        start = self.start(tf.shape(inputs)[1])
        return tf.concat([start[None], self.states(inputs, present)], 0)[:-1]

    def _flat(self, states):
        return tf.concat([tf.cast(s, self.dtype) for s in keras.tree.flatten(states)], axis=-1)


class Steps(LayerSteps):
    """The steps of one call of a recurrent layer in a model: what reaches it, and derivatives."""

    def __init__(self, model, node):
        super().__init__(node.operation)
        self.before = model_before(model, node)

    def sequences(self, x):
        """What reaches the layer, `[T, B, F]`, and which steps are real, `[T, B]`, in its order."""
        return self.ordered(self.before(x, training=False))

    def derivatives(self, state, x, variables=()):
        """(the next state `[B, S]`, its derivatives `[B, S, ...]` by the state and by variables).

        Row by row, because the rows share the variables and nothing else: one reverse pass for
        each entry of the state, on one row.
        """
        values = [tf.convert_to_tensor(v.value) for v in variables]

        def row(pair):
            state, x = pair
            mapping = list(zip(variables, values))
            scope = keras.StatelessScope(mapping) if mapping else contextlib.nullcontext()
            with tf.GradientTape() as tape:
                tape.watch([state, *values])
                with scope:
                    after = self.step(state[None], x[None])[0]
            return after, tape.jacobian(after, [state, *values], unconnected_gradients="zero")

        return tf.vectorized_map(row, (state, x))


def probe(model, nodes):
    """The model that gives the outputs of these calls of layers beside its own."""
    functional = functional_of(model)
    tensors = [node.output_tensors[0] for node in nodes]
    return keras.Model(functional.input, [tensors, functional.outputs])


def weighted_loss(loss, y, outputs, weights):
    """(the weighted sum of the losses of all steps, the sum of the weights), float64."""
    outputs = keras.tree.flatten(outputs)
    if len(outputs) > 1:
        raise ValueError(
            f"`model` must have one output, that of the loss. Received: {len(outputs)} outputs"
        )
    expected = outputs[0].shape[: min(2, outputs[0].shape.rank - 1)]
    y = _data.check_targets(y, expected)
    losses = tf.cast(_data.check_steps(loss(y, outputs[0]), expected), tf.float64)
    weights = tf.ones_like(losses) if weights is None else tf.cast(weights, tf.float64)
    if not weights.shape.is_compatible_with(losses.shape):
        raise ValueError(
            f"The weights in `data` must have the shape {tuple(losses.shape)}. "
            f"Received: shape {tuple(weights.shape)}"
        )
    return tf.reduce_sum(weights * losses), tf.reduce_sum(weights)
