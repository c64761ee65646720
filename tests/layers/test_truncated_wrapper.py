"""TruncatedWrapper against its definition, computed window by window with the wrapped cell."""

import doctest
import importlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers import LRU, HDetachLSTM, StableLSTM, StableRNN, TruncatedWrapper

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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LAYERS)
def test_every_mode_is_its_definition(name, mode):
    wrapper, twin = pair(name, 2, mode, return_sequences=True, return_state=True)
    x = inputs()
    ours = graph(lambda x: wrapper(x, training=True), x, variables=wrapper.trainable_variables)
    slowly = eager(lambda x: slow(twin, x, 2, mode), x, variables=twin.trainable_variables)
    assert_same(ours, slowly)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["gru", "stacked", "hdetach", "lru"])
def test_masked_steps_do_not_count(name, mode):
    wrapper, twin = pair(name, 2, mode, return_sequences=True, return_state=True)
    x = inputs()
    ours = eager(
        lambda x: wrapper(x, mask=tf.constant(MASK), training=True),
        x,
        variables=wrapper.trainable_variables,
    )
    slowly = eager(
        lambda x: slow_masked(twin, x, 2, mode, MASK), x, variables=twin.trainable_variables
    )
    assert_same(ours, slowly)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["lstm", "cell", "lru"])
@pytest.mark.parametrize("masked", [False, True])
def test_last_output_alone_equals_the_last_of_the_sequence(name, mode, masked):
    wrapper, twin = pair(name, 2, mode, return_state=True)
    mask = MASK if masked else np.ones_like(MASK)
    given = {"mask": tf.constant(MASK)} if masked else {}

    def reference(x):
        y, states = slow_masked(twin, x, 2, mode, mask)
        return y[:, -1], states

    x = inputs()
    ours = eager(lambda x: wrapper(x, **given), x, variables=wrapper.trainable_variables)
    assert_same(ours, eager(reference, x, variables=twin.trainable_variables))


@pytest.mark.parametrize("k", [1, T, T + 2])
@pytest.mark.parametrize("mode", MODES)
def test_extreme_lengths(mode, k):
    wrapper, twin = pair("lstm", k, mode, return_sequences=True, return_state=True)
    x = inputs()
    slowly = eager(lambda x: slow(twin, x, k, mode), x, variables=twin.trainable_variables)
    assert_same(eager(wrapper, x, variables=wrapper.trainable_variables), slowly)
    if k > T:
        assert_same(graph(twin, x, variables=twin.trainable_variables), slowly)


@pytest.mark.parametrize("mode", ["gradient", "chunk"])
@pytest.mark.parametrize("k", [2, T + 1])
@pytest.mark.parametrize("sequences", [True, False])
def test_initial_state_and_its_gradient(mode, k, sequences):
    wrapper, twin = pair("gru", k, mode, return_sequences=sequences, return_state=True)
    x, h = inputs(), tf.constant(np.random.RandomState(4).randn(B, H).astype("float32"))

    def reference(x, h):
        y, states = slow(twin, x, k, mode, [h])
        return (y if sequences else y[:, -1]), states

    ours = eager(lambda x, h: wrapper(x, initial_state=[h]), x, h, variables=[])
    slowly = eager(reference, x, h, variables=[])
    assert_same(ours, slowly)
    reaches = sequences or k > T
    assert bool(np.any(ours[1][1] != 0)) == reaches


@pytest.mark.parametrize("k", [1, 3, 4, 6, 7, 12, 20])
def test_lru_windows_are_the_exact_difference(k):
    """h_t - lambda^k h_{t-k}, both of the full recurrence, in complex128 NumPy."""
    layer = LRU(H, state_size=6, r_min=0.9, r_max=0.999, return_sequences=True)
    wrapper = TruncatedWrapper(layer, k)
    x = inputs(time=12)
    y = wrapper(x)
    *_, b, c, d = (m.numpy().astype("float64") for m in layer.cell.matrices())
    eigenvalues = layer.eigenvalues()
    z = x.numpy() @ (b[:, :6] + 1j * b[:, 6:])
    h = np.zeros([B, 13, 6], complex)
    for t in range(12):
        h[:, t + 1] = eigenvalues * h[:, t] + z[:, t]
    before = np.concatenate([np.zeros([B, min(k, 13), 6]), h[:, : max(13 - k, 0)]], 1)
    window = (h - eigenvalues**k * before)[:, 1:]
    expected = np.concatenate([window.real, window.imag], -1) @ c
    skip = x.numpy() * d if d.ndim == 1 else x.numpy() @ d
    np.testing.assert_allclose(y, expected + skip, rtol=2e-5, atol=2e-5)


def test_k1_is_no_recurrence():
    for mode in MODES:
        wrapper, _ = pair("lstm", 1, mode, return_sequences=True)
        x = inputs()
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(wrapper(x)[:, 2])
        reached = np.any(tape.gradient(y, x).numpy() != 0, axis=(0, 2))
        assert reached.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("lstm", "window"),
        ("stacked", "gradient"),
        ("hdetach", "chunk"),
        ("lru", "window"),
        ("lru", "gradient"),
    ],
)
def test_compiled_by_xla(name, mode):
    wrapper, _ = pair(name, 2, mode, return_sequences=True, return_state=True)
    x, variables = inputs(), wrapper.trainable_variables
    call = lambda x: wrapper(x, mask=tf.constant(MASK), training=True)  # noqa: E731
    plain = eager(call, x, variables=variables)
    assert_same(graph(call, x, variables=variables, jit=True), plain)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_unknown_batch_and_time_and_none_of_either(mode, masked, sequences):
    wrapper, _ = pair("stacked", 3, mode, return_sequences=sequences)
    free = tf.function(
        lambda x, m: wrapper(x, mask=m if masked else None),
        input_signature=[
            tf.TensorSpec([None, None, F]),
            tf.TensorSpec([None, None], tf.bool),
        ],
        autograph=False,
    )
    x, mask = inputs(), tf.constant(MASK)
    given = {"mask": mask} if masked else {}
    np.testing.assert_allclose(free(x, mask), wrapper(x, **given), atol=1e-6)
    assert free(x[:, :0], mask[:, :0]).shape == ((B, 0, H + 1) if sequences else (B, H + 1))
    assert not np.any(free(x[:, :0], mask[:, :0]))
    assert free(x[:0], mask[:0]).shape[0] == 0
    np.testing.assert_array_equal(wrapper(x[:, :0]), free(x[:, :0], mask[:, :0]))
    short = mask[:, :2]  # T < k, and a row without a real step
    given = {"mask": short} if masked else {}
    np.testing.assert_allclose(free(x[:, :2], short), wrapper(x[:, :2], **given), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rates", [(0.5, 0.0), (0.3, 0.4)])
@pytest.mark.parametrize("name", ["lstm", "gru", "simple_rnn"])
def test_dropout_masks_are_those_of_the_full_pass(name, mode, rates):
    options = {"dropout": rates[0], "recurrent_dropout": rates[1], "seed": 5}
    wrapper, twin = pair(name, T + 1, mode, return_sequences=True, **options)
    x = inputs()
    whole = wrapper(x, training=True)
    np.testing.assert_allclose(whole, twin(x, training=True)[0], atol=1e-5)
    assert np.abs(whole - wrapper(x)).max() > 1e-3
    short, _ = pair(name, 2, mode, return_sequences=True, **options)
    short.set_weights(wrapper.get_weights())
    given = short(x, training=True)
    np.testing.assert_allclose(given[:, :2], whole[:, :2], atol=1e-5)


def test_hdetach_draws_in_chunks_only():
    x = inputs(time=4)
    for mode in MODES:
        results = []
        for p in (0.0, 1.0):
            keras.utils.set_random_seed(0)
            wrapper = TruncatedWrapper(HDetachLSTM(H, p=p, return_sequences=True), 3, mode)
            wrapper.build((None, None, F))
            results.append(
                eager(
                    lambda x, w=wrapper: w(x, training=True),
                    x,
                    variables=wrapper.trainable_variables,
                )
            )
        plain, detached = results
        assert_same([plain[0]], [detached[0]])
        difference = np.abs(plain[1][0] - detached[1][0]).max()
        assert difference > 1e-4 if mode == "chunk" else difference < 1e-6


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_hdetach_chunks_cut_what_is_drawn(activation):
    """Always detached through h: the chunks equal an LSTM whose h is cut at every step."""
    layer = HDetachLSTM(H, p=1.0, activation=activation, return_sequences=True)
    wrapper = TruncatedWrapper(layer, 2, "chunk")
    wrapper.build((None, None, F))
    cell = layer.cell

    def reference(x):
        h, c, outputs = tf.zeros([B, H]), tf.zeros([B, H]), []
        for t in range(T):
            c = tf.stop_gradient(c) if t % 2 == 0 else c
            h, (h, c) = cell(x[:, t], [tf.stop_gradient(h), c])
            outputs.append(h)
        return tf.stack(outputs, 1)

    x, variables = inputs(), wrapper.trainable_variables
    ours = eager(lambda x: wrapper(x, training=True), x, variables=variables)
    assert_same(ours, eager(reference, x, variables=variables))


def test_nan_at_masked_steps_stays_there():
    wrapper, _ = pair("lstm", 2, "window", return_sequences=True)
    x = tf.where(MASK[..., None], inputs(), np.nan)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(wrapper(x, mask=tf.constant(MASK)))
    gradients = tape.gradient(loss, wrapper.trainable_variables)
    assert all(np.all(np.isfinite(g)) for g in [loss, *gradients])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sequences", [False, True])
def test_masked_outputs_follow_keras(mode, sequences):
    x, mask = inputs(), tf.constant(np.r_[[[1, 0, 1, 0]], [[0, 1, 1, 0]]].astype(bool))
    for options in ({}, {"zero_output_for_mask": True}, {"go_backwards": True}):
        options = {**options, "return_sequences": sequences}
        wrapper = TruncatedWrapper(keras.layers.GRU(H, use_cudnn=False, **options), T + 1, mode)
        expected = wrapper.layer(x, mask=mask)
        np.testing.assert_allclose(wrapper(x, mask=mask), expected, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_backwards_is_the_reversed_sequence(mode):
    wrapper, twin = pair("lstm", 2, mode, return_sequences=True, go_backwards=True)
    x = inputs()
    np.testing.assert_allclose(wrapper(x), slow(twin, x[:, ::-1], 2, mode)[0], atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["lstm", "lru"])
def test_bidirectional(name, mode, tmp_path):
    both = keras.layers.Bidirectional(
        TruncatedWrapper(LAYERS[name](return_sequences=True), 2, mode)
    )
    x = inputs()
    model = keras.Sequential([keras.Input((None, F)), both])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros([B, T, 2 * H]), verbose=0)
    y = model(x)
    assert not both.forward_layer.go_backwards
    assert both.backward_layer.go_backwards
    backward = slow(_twin(name, both.backward_layer), x[:, ::-1], 2, mode)[0]
    np.testing.assert_allclose(y[..., H:], backward[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(
        y[..., :H], slow(_twin(name, both.forward_layer), x, 2, mode)[0], atol=1e-5
    )
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(x), y)


def _twin(name, wrapper):
    twin = LAYERS[name](return_sequences=True, return_state=True)
    twin.build((None, None, F))
    twin.set_weights(wrapper.get_weights())
    return twin


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("gru", "gradient"),
        ("hdetach", "chunk"),
        ("stable_rnn", "window"),
        ("stable_lstm", "gradient"),
        ("lru", "window"),
    ],
)
def test_saves_loads_and_trains(name, mode, tmp_path):
    sequence = keras.Input((None, F))
    masked = keras.layers.Masking()(sequence)
    layer = TruncatedWrapper(
        LAYERS[name](return_sequences=True, return_state=True), 3, mode, name="cut"
    )
    outputs = layer(masked)
    model = keras.Model(sequence, [outputs[0], *outputs[1:]])
    assert [tuple(o.shape) for o in model.outputs] == [
        s if isinstance(s, tuple) else tuple(s) for s in layer.compute_output_shape((None, None, F))
    ]
    model.compile("adam", ["mse"] * len(model.outputs))
    x = tf.where(MASK[..., None], inputs(), 0.0)
    before = layer.get_weights()
    model.fit(x, [tf.ones_like(y) for y in model(x)], verbose=0)
    assert all(np.any(a != b) for a, b in zip(before, layer.get_weights()))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(again(x), model(x)):
        np.testing.assert_array_equal(a, b)
    configs = [json.dumps(w.get_config(), sort_keys=True) for w in (again.get_layer("cut"), layer)]
    assert configs[0] == configs[1]
    assert {"layer", "k", "mode"} <= set(layer.get_config())


def test_custom_and_stacked_cells_round_trip():
    with keras.utils.custom_object_scope({"StoredAccumulate": StoredAccumulate}):
        wrapper = TruncatedWrapper(
            keras.layers.RNN([keras.layers.GRUCell(2), StoredAccumulate(H)]), 2
        )
        again = TruncatedWrapper.from_config(wrapper.get_config())
    assert again.get_config() == wrapper.get_config()


class StoredAccumulate(Accumulate):
    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_mask_is_handed_on():
    x = keras.Input((None, F))
    sequences = TruncatedWrapper(keras.layers.GRU(H, return_sequences=True), 2)
    assert sequences(keras.layers.Masking()(x))._keras_mask is not None
    last = TruncatedWrapper(keras.layers.GRU(H), 2)
    assert getattr(last(keras.layers.Masking()(x)), "_keras_mask", None) is None


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("name", ["lstm", "gru", "stacked", "stable_rnn", "lru"])
def test_other_precisions(name, policy):
    """The dtype is the wrapped layer's; half precision costs its rounding and no more."""
    keras.config.set_dtype_policy(policy)
    try:
        made = [TruncatedWrapper(LAYERS[name](return_sequences=True), 3, m) for m in MODES]
    finally:
        keras.config.set_dtype_policy("float32")
    for mode, layer in zip(MODES, made):
        y = layer(inputs())
        assert y.dtype == keras.DTypePolicy(policy).compute_dtype
        assert all(w.dtype in ("float32", "float64") for w in layer.weights)
        exact, _ = pair(name, 3, mode, return_sequences=True)
        exact.set_weights(layer.get_weights())
        bound = 1e-5 if policy == "float64" else 0.05
        np.testing.assert_allclose(tf.cast(y, tf.float32), exact(inputs()), atol=bound)


def test_regularizers_count_once():
    layer = keras.layers.GRU(H, activity_regularizer="l2", kernel_regularizer="l1")
    wrapper = TruncatedWrapper(layer, 2)
    wrapper(inputs())
    assert len(wrapper.losses) == 2
    again = TruncatedWrapper.from_config(wrapper.get_config())
    again(inputs())
    assert len(again.losses) == 2


def test_shared_weights_are_the_layers():
    layer = keras.layers.LSTM(H)
    wrapper = TruncatedWrapper(layer, 2)
    wrapper.build((None, None, F))
    assert [w is v for w, v in zip(wrapper.weights, layer.weights)] == [True] * 3


BAD = [
    (lambda: TruncatedWrapper(keras.layers.Dense(3), 2), TypeError, "`layer` must be a recurrent"),
    (lambda: TruncatedWrapper("lstm", 2), TypeError, "layer='lstm'"),
    (lambda: TruncatedWrapper(LAYERS["gru"](), 0), ValueError, "`k` must be .* Received: k=0"),
    (lambda: TruncatedWrapper(LAYERS["gru"](), 2.0), TypeError, "`k` must be an integer"),
    (lambda: TruncatedWrapper(LAYERS["gru"](), True), TypeError, "Received: k=True"),
    (lambda: TruncatedWrapper(LAYERS["gru"](), 2, "cut"), ValueError, "'chunk'. .* mode='cut'"),
    (lambda: TruncatedWrapper(LAYERS["gru"](stateful=True), 2), ValueError, "stateful=True"),
    (lambda: TruncatedWrapper(LAYERS["gru"](unroll=True), 2), ValueError, "unroll=True"),
    (lambda: TruncatedWrapper(LAYERS["gru"](use_cudnn=True), 2), ValueError, "use_cudnn=False"),
    (
        lambda: TruncatedWrapper(LAYERS["gru"](), 2)(np.ones([2, 3, 4, 5], "float32")),
        ValueError,
        r"\[batch, time, features\]",
    ),
    (
        lambda: TruncatedWrapper(LAYERS["gru"](), 2)(inputs(), mask=tf.ones([B, T + 1], tf.bool)),
        ValueError,
        r"`mask` of .* Received: mask.shape=\(2, 5\)",
    ),
    (
        lambda: TruncatedWrapper(LAYERS["gru"](), 2)(inputs(), initial_state=[tf.zeros([B, H])]),
        ValueError,
        "`initial_state` must be None in mode 'window'",
    ),
    (
        lambda: TruncatedWrapper(LAYERS["gru"](), 2, "chunk")(
            inputs(), initial_state=[tf.zeros([B, H + 1])]
        ),
        ValueError,
        r"`initial_state` of .* shapes \[\(2, 5\)\]. Received: shapes \[\(2, 6\)\]",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_docstring_example():
    module = importlib.import_module("rnnzoo.layers.truncated_wrapper")
    assert doctest.testmod(module).failed == 0
