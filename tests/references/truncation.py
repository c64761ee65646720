"""TruncatedWrapper's definition computed the slow way: window by window, step by step, eagerly."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.layers import (
    LRU,
    HDetachLSTM,
    LinearRNN,
    LRUBlock,
    StableLSTM,
    StableRNN,
    TruncatedWrapper,
)

B, T, F, H = 2, 4, 3, 5
MODES = ("window", "gradient", "chunk")
MASK = np.array([[1, 0, 1, 1], [0, 1, 1, 0]], bool)


class Accumulate(keras.layers.Layer):
    """A cell that no fast form knows: its output is not its state."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.output_size = units + 1

    def build(self, shape):
        self.a = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform")
        self.b = self.add_weight(shape=(self.units, self.units + 1), initializer="glorot_uniform")

    def call(self, inputs, states):
        state = 0.9 * states[0] + tf.sin(inputs @ self.a + states[0][:, ::-1])
        return state @ self.b, [state]


LAYERS = {
    "lstm": lambda **o: keras.layers.LSTM(H, bias_initializer="normal", **o),
    "gru": lambda **o: keras.layers.GRU(H, bias_initializer="normal", **o),
    "gru_before": lambda **o: keras.layers.GRU(H, reset_after=False, use_bias=False, **o),
    "simple_rnn": lambda **o: keras.layers.SimpleRNN(H, activation="sigmoid", **o),
    "cell": lambda **o: keras.layers.RNN(Accumulate(H), **o),
    "stacked": lambda **o: keras.layers.RNN([keras.layers.LSTMCell(3), Accumulate(H)], **o),
    "hdetach": lambda **o: HDetachLSTM(H, p=0.0, **o),
    "stable_rnn": lambda **o: StableRNN(H, **o),
    "stable_lstm": lambda **o: StableLSTM(H, **o),
    "lru": lambda **o: LRU(H, state_size=6, **o),
    "lru_block": lambda **o: LRUBlock(H, state_size=6, norm="layer", **o),
    "linear_rnn": lambda **o: LinearRNN(H, state_size=6, heads=2, **o),
}


def inputs(batch=B, time=T):
    return tf.constant(np.random.RandomState(3).randn(batch, time, F).astype("float32"))


def pair(name, k, mode, **options):
    """The wrapper and a layer with its weights that returns sequences and states."""
    wrapper = TruncatedWrapper(LAYERS[name](**options), k, mode)
    wrapper.build((None, None, F))
    options = {**options, "return_sequences": True, "return_state": True, "go_backwards": False}
    twin = LAYERS[name](**options)
    twin.build((None, None, F))
    twin.set_weights(wrapper.get_weights())
    return wrapper, twin


def steps(twin, x, states):
    """The twin's cell over the few steps of `x`, one after another: (outputs [B, t, U], states)."""
    outputs = []
    for t in range(x.shape[1]):
        output, states = twin.cell(x[:, t], states)
        outputs.append(output)
    return tf.stack(outputs, 1), states


def slow(twin, x, k, mode, initial=None):
    """Outputs [B, T, U] and final states by the definition, for sequences without masks."""
    initial = twin.get_initial_state(x.shape[0]) if initial is None else initial
    outputs, states = [], initial
    cut = lambda s: tf.nest.map_structure(tf.stop_gradient, s)  # noqa: E731
    if mode == "chunk":
        for start in range(0, x.shape[1], k):
            y, states = steps(twin, x[:, start : start + k], cut(states) if start else states)
            outputs.append(y)
        return tf.concat(outputs, 1), states
    at = [initial]
    for t in range(x.shape[1]):
        at.append(steps(twin, x[:, t : t + 1], at[-1])[1])
    for t in range(x.shape[1]):
        begin = t - k + 1
        state = cut(at[begin]) if mode == "gradient" and begin >= 0 else initial
        y, states = steps(twin, x[:, max(begin, 0) : t + 1], state)
        outputs.append(y[:, -1])
    return tf.stack(outputs, 1), states


def slow_masked(twin, x, k, mode, mask):
    """The same for masked sequences: each row alone, its masked steps left out."""
    rows, finals = [], []
    for b in range(x.shape[0]):
        places = np.flatnonzero(mask[b])
        y, states = slow(twin, tf.gather(x[b : b + 1], places, axis=1), k, mode)
        source = np.cumsum(mask[b])
        rows.append(tf.gather(tf.concat([tf.zeros_like(y[0, :1]), y[0]], 0), source))
        finals.append(states)
    return tf.stack(rows), tf.nest.map_structure(lambda *s: tf.concat(s, 0), *finals)


def loss_of(values):
    """Weighs every number differently, so that no two can be exchanged unnoticed."""
    total = 0.0
    for value in tf.nest.flatten(values):
        size = tf.size(value)
        weights = tf.cos(tf.reshape(tf.cast(tf.range(size), tf.float32), tf.shape(value)))
        total += tf.reduce_sum(weights * value)
    return total


def eager(function, *arguments, variables):
    """Values, then the gradients of `loss_of` by the arguments and by the variables."""
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        values = function(*arguments)
        loss = loss_of(values)
    gradients = tape.gradient(loss, [*arguments, *variables], unconnected_gradients="zero")
    return tf.nest.flatten(values), gradients


def graph(function, *arguments, variables, jit=False):
    """The same in a graph, compiled by XLA on demand."""
    run = tf.function(
        lambda *arguments: eager(function, *arguments, variables=variables),
        jit_compile=jit,
        autograph=False,
    )
    return run(*arguments)


def assert_same(ours, reference, tolerance=2e-5):
    for values, expected in zip(ours, reference):
        assert len(values) == len(expected)
        for a, b in zip(values, expected):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
