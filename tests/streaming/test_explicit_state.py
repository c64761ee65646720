"""explicit_state: chunks with carried state equal one pass; what mixes time steps is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.graphs import keep_masks
from rnnzoo.streaming import explicit_state

L = keras.layers
B, T, F, H = 3, 7, 4, 5


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomised(model, seed=1):
    rng = np.random.default_rng(seed)
    for v in model.trainable_variables:
        v.assign(rng.normal(size=v.shape, scale=0.5))
    return model


def functional(*layers, shape=(None, F), dtype="float32"):
    x = inputs = keras.Input(shape, dtype=dtype)
    for layer in layers:
        keep_masks(layer)
        x = layer(x)
    return randomised(keras.Model(inputs, x))


@keras.saving.register_keras_serializable(package="tests")
class Averager(keras.layers.Layer):
    """A cell whose output is not one of its states."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.output_size = 2

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units))
        self.read = self.add_weight(shape=(self.units, 2))

    def call(self, inputs, states):
        state = 0.5 * states[0] + inputs @ self.kernel
        return state @ self.read + inputs[:, :2], [state]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Unregistered(Averager):
    pass


class Unknown(keras.layers.Layer):
    def call(self, x):
        return x


def rnnzoo_layer(name, **options):
    def make(**kwargs):
        import rnnzoo.layers

        return getattr(rnnzoo.layers, name)(H, **options, **kwargs)

    return make


LAYERS = {
    "lstm": lambda **k: L.LSTM(H, **k),
    "lstm_unrolled": lambda **k: L.LSTM(H, unroll=True, **k),
    "gru": lambda **k: L.GRU(H, **k),
    "simple_rnn": lambda **k: L.SimpleRNN(H, activation="relu", **k),
    "rnn_cell": lambda **k: L.RNN(L.GRUCell(H), **k),
    "rnn_own_cell": lambda **k: L.RNN(Averager(H), **k),
    "rnn_unregistered_cell": lambda **k: L.RNN(Unregistered(H), **k),
    "stacked_cells": lambda **k: L.RNN([L.LSTMCell(H), L.GRUCell(3), L.LSTMCell(2)], **k),
    "hdetach_lstm": rnnzoo_layer("HDetachLSTM"),
    "stable_rnn": rnnzoo_layer("StableRNN"),
    "stable_lstm": rnnzoo_layer("StableLSTM"),
    "lru": rnnzoo_layer("LRU"),
    "tcn": rnnzoo_layer("TCN", levels=2, kernel_size=2),
    "gated_conv": rnnzoo_layer("GatedConv", levels=2, kernel_size=3),
    "wave_net": rnnzoo_layer("WaveNet", levels=2, repeats=1),
}


def chunked(stream, x, sizes, mask=None, training=False):
    state, outputs, start = stream.initial_state(len(x)), [], 0
    for size in sizes:
        part = slice(start, start + size)
        chunk_mask = None if mask is None else mask[:, part]
        y, state = stream(x[:, part], state, mask=chunk_mask, training=training)
        outputs.append(y.numpy())
        start += size
    return outputs, state


def stepped(stream, x, mask=None):
    state, outputs = stream.initial_state(len(x)), []
    for t in range(x.shape[1]):
        y, state = stream.step(x[:, t], state, mask=None if mask is None else mask[:, t])
        outputs.append(y.numpy())
    return outputs, state


def close(a, b, tolerance=2e-6):
    np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("sequences", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", LAYERS)
def test_chunks_and_steps_equal_one_pass(kind, sequences):
    shape = (T, F) if kind == "lstm_unrolled" else (None, F)
    model = functional(LAYERS[kind](return_sequences=sequences), L.Dense(3), shape=shape)
    x, stream = data(B, T, F), explicit_state(model)
    expected = model(x).numpy()
    for outputs, state in (chunked(stream, x, (3, 1, 3)), stepped(stream, x)):
        if sequences and outputs[0].ndim == 2:
            close(np.stack(outputs, 1), expected)
        else:
            close(np.concatenate(outputs, 1) if sequences else outputs[-1], expected)
        _, whole = stream(x, stream.initial_state(B))
        for name in stream.state_names:
            close(state[name], whole[name])


@pytest.mark.parametrize(
    ("where", "sequences"),
    [
        pytest.param("caller", True, marks=pytest.mark.slow),
        ("both", False),
        pytest.param("masking", True, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", [k for k in LAYERS if k != "lstm_unrolled"])
def test_masks_are_honoured_across_chunks(kind, where, sequences):
    x = data(B, T, F) + 0.1
    mask = np.arange(T)[None] < np.array([7, 2, 4])[:, None]
    mask[0, :5] = False  # begins masked, so a first chunk holds no step
    given = None
    front = []
    if where != "caller":
        front, hidden = [L.Masking()], mask if where == "masking" else mask | (np.arange(T) == 6)
        x = np.where(hidden[..., None], x, 0).astype("float32")
    if where != "masking":
        given = mask
    layer = LAYERS[kind](return_sequences=sequences)
    model = functional(*front, LAYERS["gru"](return_sequences=True), layer, L.Dense(3))
    stream = explicit_state(model)
    plain = functional(*model.layers[1 + len(front) :])
    plain.supports_masking = True  # else Keras warns
    expected = plain(x, mask=tf.constant(mask)).numpy()
    outputs, _ = chunked(stream, x, (3, 2, 2), mask=given)
    close(np.concatenate(outputs, 1) if sequences else outputs[-1], expected)
    steps, _ = stepped(stream, x, mask=given)
    # A step is told nothing about what Keras shows at masked steps; real steps and the end agree.
    steps = np.stack(steps, 1)
    close(steps[mask], expected[mask]) if sequences else close(steps[:, -1], expected)


def test_a_mix_of_layers_nested_models_and_a_layer_called_twice():
    inner_input = keras.Input((None, H))
    shared = L.GRU(H, return_sequences=True, name="shared")
    inner = keras.Model(inner_input, shared(L.Dense(H, "relu")(inner_input)), name="inner")
    inner.supports_masking = True  # else Keras warns
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = L.Embedding(9, H, mask_zero=True)(tokens)
    x = inner(L.LayerNormalization()(x))
    x = shared(L.Add()([x, inner(x)]))
    tail = keras.Sequential([keras.Input((None, H)), L.LSTM(H, return_sequences=True)], name="tail")
    tail.supports_masking = True
    x = L.Concatenate()([tail(x), x * 2.0, L.TimeDistributed(L.Dense(2))(x)])
    end = L.SimpleRNN(2, name="end")(x)
    model = randomised(
        keras.Model(tokens, {"each": L.Activation("softmax")(x), "end": L.Dense(2)(end)})
    )
    stream = explicit_state(model)
    assert stream.state_names == [
        "shared_h", "shared_call2_h", "shared_call3_h", "lstm_h", "lstm_c", "end_h"
    ]  # fmt: skip
    assert stream.output_names == ["each", "end"]
    assert stream.output_has_time == [True, False]
    ids = np.random.default_rng(0).integers(0, 9, (B, 6))
    expected = model(ids)
    state = stream.initial_state(B)
    first, state = stream(ids[:, :2], state)
    second, state = stream(ids[:, 2:], state)
    present = ids[..., None] > 0  # Keras shows zeros where a sequence begins with padding
    each = np.concatenate([first["each"], second["each"]], 1)
    close(each * present, expected["each"] * present)
    close(second["end"], expected["end"])
    state = stream.initial_state(B)
    for t in range(6):
        y, state = stream.step(ids[:, t], state)
    close(y["end"], expected["end"])


def test_two_layers_of_one_name_in_two_models_have_two_states():
    def part(name):
        return keras.Sequential(
            [
                keras.Input((None, F)),
                L.GRU(F, return_sequences=True, name="gru"),
                L.Dense(F, name="dense"),
            ],
            name=name,
        )

    model, x = functional(part("first"), part("second")), data(B, T, F)
    stream = explicit_state(model)
    assert stream.state_names == ["gru_h", "second_gru_h"]
    close(np.concatenate(chunked(stream, x, (3, 4))[0], 1), model(x))
    assert {id(v) for v in stream.model.variables} == {id(v) for v in model.variables}


def test_weights_generators_and_run_time_attributes_are_shared():
    layer = rnnzoo_layer("HDetachLSTM")(p=0.25, seed=3, dropout=0.5, return_sequences=True)
    model = functional(layer, L.Dense(1))
    stream = explicit_state(model)
    assert {id(v) for v in stream.model.variables} == {id(v) for v in model.variables}
    twin = next(x for x in stream.model.layers if x.name == layer.name)
    layer.p = 0.75
    assert twin.p == 0.75
    assert twin.detach_seed_generator is layer.detach_seed_generator
    before = layer.detach_seed_generator.state.numpy().copy()
    stream(data(B, T, F), stream.initial_state(B), training=True)
    assert (layer.detach_seed_generator.state.numpy() != before).any()
    model.layers[-1].kernel.assign(np.zeros((H, 1)))
    y, _ = stream(data(B, T, F), stream.initial_state(B))
    close(y, np.broadcast_to(model.layers[-1].bias, y.shape))


def test_gradients_flow_through_the_carried_state():
    model = functional(L.LSTM(H, return_sequences=True), L.LSTM(2))
    stream, x = explicit_state(model), tf.constant(data(B, T, F))
    with tf.GradientTape(persistent=True) as tape:
        _, state = stream(x[:, :3], stream.initial_state(B))
        y, _ = stream(x[:, 3:], state)
        pieces, whole = tf.reduce_sum(y**2), tf.reduce_sum(model(x) ** 2)
    for a, b in zip(*(tape.gradient(s, model.trainable_variables) for s in (pieces, whole))):
        close(a, b, 1e-5)


def test_stateful_layers_keep_their_own_state_out_of_it():
    x = keras.Input(batch_shape=(B, None, F))
    layer = L.GRU(H, stateful=True)
    model = randomised(keras.Model(x, layer(x)))
    stream = explicit_state(model)
    y, _ = stream(data(B, T, F), stream.initial_state(B))
    assert not layer.states[0].numpy().any()
    close(y, model(data(B, T, F)))
    stream(data(2, T, F), stream.initial_state(2))  # any batch size


def test_in_a_graph_with_dynamic_batch_and_time_and_under_mixed_precision():
    model = functional(L.LSTM(H, return_sequences=True, dtype="mixed_float16"), L.Dense(2))
    stream = explicit_state(model)
    assert stream.state_spec == {"lstm_h": ((H,), "float16"), "lstm_c": ((H,), "float16")}

    @tf.function(input_signature=[tf.TensorSpec([None, None, F]), tf.TensorSpec([None], tf.int32)])
    def run(x, lengths):
        state = stream.initial_state(tf.shape(x)[0])
        mask = tf.sequence_mask(lengths, tf.shape(x)[1])
        return stream(x, state, mask=mask)

    x = data(B, T, F)
    _, state = run(x, np.array([7, 3, 0], "int32"))
    _, short = stream(x[:, :3], stream.initial_state(B))
    close(state["lstm_h"][1], short["lstm_h"][1], 2e-3)
    assert not state["lstm_h"][2].numpy().any()


REFUSED = {
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(2, return_sequences=True)), "from its end"),
    "LSTM": (lambda: L.LSTM(2, return_sequences=True, go_backwards=True), "go_backwards=True"),
    "Conv1D": (lambda: L.Conv1D(2, 3, padding="causal"), "not known"),
    "AveragePooling1D": (lambda: L.AveragePooling1D(1), "not known"),
    "GlobalMaxPooling1D": (lambda: L.GlobalMaxPooling1D(), "not known"),
    "LayerNormalization": (lambda: L.LayerNormalization(axis=[1, 2]), "not over the features"),
    "Softmax": (lambda: L.Softmax(axis=1), "works over axis 1"),
    "BatchNormalization": (lambda: L.BatchNormalization(), "training statistics"),
    "Lambda": (lambda: L.Lambda(lambda v: v), "cannot be known"),
    "Reshape": (lambda: L.Reshape((2, 14)), "move the time axis"),
    "Flatten": (lambda: L.Flatten(), "joins all time steps"),
    "PReLU": (lambda: L.PReLU(), "one slope for each time step"),
    "Unknown": (lambda: Unknown(), "not known"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_layers_that_mix_time_steps_are_refused_by_name(kind):
    make, reason = REFUSED[kind]
    first = L.GRU(F, return_sequences=True)
    inputs = keras.Input((T, F))
    other = make()
    other.name = "guilty"
    model = keras.Model(inputs, other(first(inputs)))
    with pytest.raises(ValueError, match=rf"(?s){kind} 'guilty' may not pass: .*{reason}"):
        explicit_state(model)


def test_attention_slices_and_constants_without_time_are_refused():
    inputs = keras.Input((T, F))
    x = L.GRU(F, return_sequences=True)(inputs)
    with pytest.raises(ValueError, match=r"Attention 'att' may not pass"):
        explicit_state(keras.Model(inputs, L.Attention(name="att")([x, x])))
    with pytest.raises(ValueError, match=r"GetItem .* may not pass: this operation"):
        explicit_state(keras.Model(inputs, x[:, -1]))
    context = keras.Input((1, F))
    end = L.Reshape((1, F))(L.GRU(F)(inputs))
    with pytest.raises(ValueError, match=r"Add 'add' may not pass: it joins a sequence with"):
        explicit_state(keras.Model([inputs, context], L.Add(name="add")([x, end])))


def test_recurrent_layers_with_a_state_or_a_time_of_the_models_own_are_refused():
    inputs, start = keras.Input((T, F)), keras.Input((F,))
    model = keras.Model([inputs, start], L.GRU(F)(inputs, initial_state=start))
    with pytest.raises(ValueError, match="the model itself gives it an initial state"):
        explicit_state(model)
    end = L.RepeatVector(3)(L.GRU(F)(inputs))
    model = keras.Model(inputs, L.GRU(F)(end))
    with pytest.raises(ValueError, match="does not run over the time of the model"):
        explicit_state(model)


def test_time_local_names_let_a_layer_pass():
    model = functional(L.GRU(F, return_sequences=True), L.BatchNormalization(name="bn"), L.GRU(H))
    x, stream = data(B, T, F), explicit_state(model, time_local=["bn"])
    close(chunked(stream, x, (3, 4))[0][-1], model(x))
    explicit_state(model, time_local=L.BatchNormalization)
    with pytest.raises(ValueError, match=r"`time_local` must name layers.*\['nb'\]"):
        explicit_state(model, time_local=["bn", "nb"])


def test_models_whose_graph_is_not_known_are_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="must be a Functional or Sequential"):
        explicit_state(Own())
    with pytest.raises(ValueError, match="must be built"):
        explicit_state(keras.Sequential([L.GRU(2)]))
    with pytest.raises(ValueError, match="must have a recurrent layer"):
        explicit_state(functional(L.Dense(2)))


def test_wrong_states_and_inputs_are_refused():
    stream = explicit_state(functional(L.LSTM(H)))
    x, state = data(B, T, F), stream.initial_state(B)
    with pytest.raises(ValueError, match=r"dict of the states \['lstm_h', 'lstm_c'\].*'lstm_h'\]"):
        stream(x, {"lstm_h": state["lstm_h"]})
    with pytest.raises(ValueError, match=r"must be a dict of the states .*Received: list"):
        stream(x, list(state.values()))
    with pytest.raises(ValueError, match=r"`state\['lstm_h'\]` must have the shape \(3, 5\)"):
        stream(x, stream.initial_state(2))
    with pytest.raises(ValueError, match=r"`x` must hold the inputs"):
        stream([x, x], state)
