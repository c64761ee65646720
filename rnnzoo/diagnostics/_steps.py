"""One recurrent layer of a model as a function of its state, its input and its weights."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from rnnzoo._streaming.rewire import functional_of
from rnnzoo.diagnostics import _data
from rnnzoo.diagnostics._data_contraction import _Walk


def the_recurrent_node(model, layer, kind=keras.layers.RNN, words="recurrent"):
    """The call of the layer named `layer`; None takes the only one of that kind."""
    nodes = [n for n in _data.recurrent_nodes(model) if isinstance(n.operation, kind)]
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


class Steps(_Walk):
    """The steps of one recurrent layer: what reaches it, and derivatives of each step."""

    def __init__(self, model, node):
        super().__init__(functional_of(model), node, points=0, seed=0)

    def sequences(self, x):
        """What reaches the layer, `[T, B, F]`, and which steps are real, `[T, B]`, in its order."""
        inputs = self.before(x, training=False)
        mask = getattr(inputs, "_keras_mask", None)
        present = np.ones(inputs.shape[:2], bool) if mask is None else np.asarray(mask)
        if self.layer.go_backwards:
            inputs, present = tf.reverse(inputs, [1]), present[:, ::-1]
        return tf.transpose(inputs, [1, 0, 2]), np.ascontiguousarray(present.T)

    def start(self, rows):
        """The state before the first step, `[B, S]`."""
        return self._flat(self.layer.get_initial_state(batch_size=rows))

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
                    after = self._phi(state[None], x[None])[0]
            return after, tape.jacobian(after, [state, *values], unconnected_gradients="zero")

        return tf.vectorized_map(row, (state, x))
