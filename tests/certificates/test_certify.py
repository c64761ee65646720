"""certify, truncate, verify: the bound against adversarial inputs, the chain, the words."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo
from rnnzoo.certificates import contraction
from rnnzoo.layers import (
    LRU,
    ComplexRNN,
    HDetachLSTM,
    LinearRNN,
    StableLSTM,
    StableRNN,
    TruncatedWrapper,
)

FEATURES, BOUND = 2, 1.5
SEQUENCES = {"return_sequences": True, "dtype": "float64"}
SMALL = {
    "kernel_initializer": keras.initializers.RandomNormal(stddev=0.1, seed=1),
    "recurrent_initializer": keras.initializers.RandomNormal(stddev=0.05, seed=2),
}


def dense(units, activation=None, seed=3):
    kernel = keras.initializers.RandomNormal(stddev=0.5, seed=seed)
    return keras.layers.Dense(units, activation, kernel_initializer=kernel, dtype="float64")


def sequential(*layers, features=FEATURES):
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input([None, features], dtype="float64"), *layers])
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, (StableRNN, StableLSTM)):
            for v in layer.trainable_variables:
                far = 2.0 * rng.normal(size=v.shape)
                v.assign(v.constraint(far) if "recurrent" in v.name else 0.3 * far)
            if isinstance(layer, StableLSTM):
                layer.cell.kernel.assign(layer.cell.kernel_constraint(layer.cell.kernel))
    return model


def branched():
    inputs = keras.Input([None, FEATURES], dtype="float64")
    one = StableRNN(3, contraction=0.6, **SEQUENCES)(inputs)
    other = StableRNN(3, "sigmoid", contraction=0.7, **SEQUENCES)(dense(4, "tanh")(inputs))
    mixed = keras.layers.Multiply(dtype="float64")([one, other]) + 0.5 * one
    both = keras.layers.Concatenate(dtype="float64")([mixed, inputs])
    nested_input = keras.Input([None, 5], dtype="float64")
    nested = keras.Model(
        nested_input, StableRNN(2, contraction=0.5, **SEQUENCES)(nested_input), name="nested"
    )
    average = keras.layers.GlobalAveragePooling1D(dtype="float64")(one)
    return keras.Model(inputs, [nested(both), average])


MODELS = {
    "StableRNN": lambda: sequential(StableRNN(4, contraction=0.7, **SEQUENCES)),
    "relu": lambda: sequential(StableRNN(4, "relu", contraction=0.7, **SEQUENCES)),
    "StableLSTM": lambda: sequential(StableLSTM(3, contraction=0.85, **SEQUENCES)),
    "ComplexRNN": lambda: sequential(ComplexRNN(3, 4, r_min=0.5, r_max=0.8, seed=1, **SEQUENCES)),
    "LinearRNN": lambda: sequential(
        LinearRNN(3, 2, 4, keras.initializers.Orthogonal(0.7, seed=1), seed=1, **SEQUENCES)
    ),
    "GRU": lambda: sequential(keras.layers.GRU(3, **SMALL, **SEQUENCES)),
    "plain LSTM": lambda: sequential(
        keras.layers.LSTM(3, unit_forget_bias=False, **SMALL, **SEQUENCES)
    ),
    "stack": lambda: sequential(
        LRU(3, 4, r_max=0.7, seed=1, **SEQUENCES),
        keras.layers.LayerNormalization(dtype="float64"),
        StableLSTM(3, contraction=0.8, **SEQUENCES),
        keras.layers.Dropout(0.5, dtype="float64"),
        dense(4, "relu"),
        StableRNN(3, contraction=0.6, return_sequences=False, dtype="float64"),
        dense(3, "softmax"),
    ),
    "branched": branched,
}


def worst_inputs(model, truncated, steps, rows=8, ascents=25):
    """Inputs within the bound at which the two models are as far apart as ascent gets them."""
    free = tf.Variable(np.random.default_rng(5).normal(size=[rows, steps, FEATURES]))
    optimizer = keras.optimizers.Adam(0.2)
    optimizer.build([free])

    def gap():
        x = BOUND * tf.tanh(free)
        pairs = zip(tf.nest.flatten(model(x)), tf.nest.flatten(truncated(x)))
        return tf.add_n([tf.reduce_sum(tf.square(one - other)) for one, other in pairs])

    @tf.function(autograph=False)
    def ascend():
        with tf.GradientTape() as tape:
            loss = -tf.math.log(gap() + 1e-30)
        optimizer.apply(tape.gradient(loss, [free]), [free])
        return loss

    losses = [ascend().numpy() for _ in range(ascents)]
    assert losses[-1] < losses[0]
    return BOUND * np.tanh(free.numpy())


@pytest.mark.parametrize("name", MODELS)
def test_the_bound_holds_on_inputs_found_by_gradient_ascent(name):
    model = MODELS[name]()
    certificate = rnnzoo.certify(model, epsilon=1e-2, input_bound=BOUND)
    assert certificate.problem is None
    assert certificate.bound(certificate.k) <= 1e-2
    k = 3
    truncated = rnnzoo.truncate(model, k=k)
    x = worst_inputs(model, truncated, steps=8)
    found = rnnzoo.verify(truncated, x, input_bound=BOUND)
    print(f"{name}: worst / bound = {found.ratio:.3g}")
    assert 0.0 < found.worst <= found.bound
    assert found.bound == certificate.bound(k)
    assert found.mean <= found.worst


def linear_rnn(units, recurrent, kernel):
    layer = StableRNN(units, "linear", contraction=0.9, use_bias=False, **SEQUENCES)
    model = sequential(layer, features=1)
    layer.set_weights([np.full([1, units], kernel), recurrent * np.eye(units)])
    return model


def test_the_bound_is_met_by_a_linear_model_on_constant_inputs():
    """h -> b w / (1 - a), of which a^k is cut; in a stack, the constants multiply and add."""
    one = linear_rnn(1, 0.5, 2.0)
    ones = np.ones([1, 60, 1])
    for k in (1, 4, 11):
        found = rnnzoo.verify(rnnzoo.truncate(one, k=k), ones)
        np.testing.assert_allclose(found.bound, 4.0 * 0.5**k, rtol=1e-10)
        np.testing.assert_allclose(found.ratio, 1.0, rtol=1e-10)
        assert found.bound >= 4.0 * 0.5**k
    assert rnnzoo.certify(one, 4.0 * 0.5**5 * (1 + 1e-9), input_bound=1.0).k == 5
    assert rnnzoo.certify(one, 4.0 * 0.5**5 * (1 - 1e-9), input_bound=1.0).k == 6
    upper = StableRNN(1, "linear", contraction=0.9, use_bias=False, **SEQUENCES)
    two = sequential(*one.layers, dense(1), upper, features=1)
    one.layers[0].set_weights([np.array([[2.0]]), np.array([[0.5]])])
    upper.set_weights([np.array([[3.0]]), np.array([[0.8]])])
    two.layers[1].set_weights([np.array([[-0.25]]), np.array([7.0])])
    k, first = 3, 4.0 * 0.5**3
    radius = 3.0 * (0.25 * 4.0 + 7.0) / (1.0 - 0.8)
    chained = 0.8**k * radius + 3.0 * (1.0 - 0.8**k) / (1.0 - 0.8) * 0.25 * first
    found = rnnzoo.certify(two, input_bound=1.0)
    np.testing.assert_allclose(found.bound(k), chained, rtol=1e-9)
    assert [layer.kind for layer in found.layers] == ["StableRNN", "Dense", "StableRNN"]
    np.testing.assert_allclose([layer.lipschitz for layer in found.layers], [4.0, 0.25, 15.0])


def test_the_norms_change_by_the_root_of_the_width():
    """Four units at once: the 2-norm of the error is twice its sup-norm, and both are bounded."""
    model = linear_rnn(4, 0.5, 1.0)
    found = rnnzoo.certify(model, input_bound=1.0)
    error = 0.5**3 * 2.0 * np.ones(4)
    np.testing.assert_allclose(found.bound(3, "2"), np.linalg.norm(error), rtol=1e-9)
    assert np.max(error) <= found.bound(3) <= found.bound(3, "2")
    tanh = rnnzoo.certify(sequential(StableRNN(4, contraction=0.5, **SEQUENCES)), epsilon=1e-3)
    assert tanh.layers[0].start == pytest.approx(2.0)  # the root of 4 units of at most 1
    assert tanh.k == int(np.ceil(np.log(2.0 / 1e-3) / np.log(2.0)))


def test_the_lru_meets_its_bound_with_a_positive_eigenvalue():
    layer = LRU(1, 1, parametrization="polar", normalization=None, **SEQUENCES)
    model = sequential(layer, features=1)
    weights = {"nu": [0.75], "theta": [0.0], "B_re": [[2.0]], "B_im": [[0.0]]}
    weights |= {"C_re": [[3.0]], "C_im": [[0.0]], "D": [5.0]}
    for name, value in weights.items():
        getattr(layer.cell, name).assign(value)
    found = rnnzoo.verify(rnnzoo.truncate(model, k=5), np.ones([1, 200, 1]))
    np.testing.assert_allclose(found.bound, 0.75**5 * 2.0 / 0.25 * 3.0, rtol=1e-9)
    np.testing.assert_allclose(found.ratio, 1.0, rtol=1e-9)
    (layer,) = rnnzoo.certify(model, input_bound=1.0).layers
    np.testing.assert_allclose(layer.lipschitz, 3.0 * 2.0 / 0.25 + 5.0, rtol=1e-9)


def test_a_model_without_a_certificate_gets_none_and_the_layer_is_named():
    model = sequential(
        StableRNN(3, contraction=0.5, **SEQUENCES), keras.layers.LSTM(4, name="plain", **SEQUENCES)
    )
    found = rnnzoo.certify(model, epsilon=0.1, input_bound=1.0)
    assert found.k is None
    assert "LSTM 'plain' has the contraction bound" in found.problem
    assert found.layers[1].contraction >= 1.0
    assert found.bound(4) <= 2.0 * (1.0 + 1e-12)  # the outputs of an LSTM are below 1
    with pytest.raises(ValueError, match=r"must have a certificate.*LSTM 'plain' has the contr"):
        rnnzoo.truncate(model, epsilon=0.1, input_bound=1.0)
    assert rnnzoo.truncate(model, k=2).layers[2].k == 2
    assert "No certificate for" in str(found)


def test_several_steps_may_contract_where_one_does_not():
    """One unit moves the other twice as far, but is itself halved: 2, then 1, then 1/2."""
    layer = keras.layers.LSTM(2, unit_forget_bias=False, **SEQUENCES)
    model = sequential(layer, features=1)
    recurrent = np.zeros([2, 8])
    recurrent[0, 7] = 8.0  # into the second unit's output gate
    layer.set_weights([np.zeros([1, 8]), recurrent, np.zeros(8)])
    found = rnnzoo.certify(model, epsilon=1e-2, input_bound=1.0)
    assert found.layers[0].contraction == pytest.approx(2.0)
    assert found.layers[0].steps == 3
    assert found.problem is None
    assert "steps contract" in str(found)
    assert rnnzoo.verify(rnnzoo.truncate(model, k=2), np.ones([1, 9, 1])).ratio <= 1.0


def test_an_input_bound_is_asked_for_where_it_is_needed_and_only_there():
    lru = sequential(LRU(3, r_max=0.5, **SEQUENCES))
    with pytest.raises(ValueError, match=r"`input_bound` must be given: the states of LRU 'lru"):
        rnnzoo.certify(lru, epsilon=0.1)
    with pytest.raises(ValueError, match=r"`input_bound` must be given.*input_bound=None"):
        rnnzoo.truncate(lru, epsilon=0.1)
    assert "bounded through its inputs alone" in rnnzoo.certify(lru).problem
    plain = sequential(keras.layers.LSTM(3, **SMALL, **SEQUENCES))
    assert rnnzoo.certify(plain).layers[0].contraction == np.inf
    stable = sequential(StableLSTM(3, **SEQUENCES))
    assert rnnzoo.certify(stable, epsilon=0.1).k > 1
    tokens = keras.Sequential(
        [keras.Input([None], dtype="int32"), keras.layers.Embedding(5, 3), LRU(2, r_max=0.5)]
    )
    assert rnnzoo.certify(tokens, epsilon=0.1).k >= 1


class OneMore(keras.layers.SimpleRNN):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        return 1.0 + super().call(sequences, initial_state, mask, training)


class ElsewhereRNN(StableRNN):
    def get_initial_state(self, batch_size):
        return [keras.ops.ones([batch_size, self.units])]


def test_what_cannot_be_bounded_is_said():
    lambda_layer = keras.layers.Lambda(lambda x: x, name="mystery")
    conv = keras.layers.Conv1D(2, 3, padding="causal", dtype="float64")
    base = StableRNN(2, contraction=0.5, **SEQUENCES)
    assert rnnzoo.certify(sequential(conv, base), epsilon=0.1).k > 1  # before it, any layer
    for layer, words in (
        (lambda_layer, "Lambda 'mystery': what its function does to time"),
        (keras.layers.Conv1D(2, 3), "it is not known to act on each time step alone"),
        (keras.layers.Bidirectional(StableRNN(2)), "holds a recurrent layer"),
        (StableRNN(2, stateful=False, return_state=True, return_sequences=True), "return_state"),
        (keras.layers.GRU(2, dtype="mixed_float16"), "computes in float16"),
        (keras.layers.LSTM(2, activation="relu"), "derived for activation='tanh'"),
        (keras.layers.ReLU(threshold=1.0), "jumps at its threshold"),
        (keras.layers.LayerNormalization(epsilon=0.0), "with epsilon=0 it is not Lipschitz"),
        (
            keras.layers.TimeDistributed(keras.layers.Dense(2, dtype="float16")),
            "computes in float16",
        ),
        (lambda x: keras.layers.Dropout(0.5)(x, training=True), "runs it in training mode"),
        (keras.ops.sum, "Sum 'sum': it has no known Lipschitz constant"),
        (OneMore(2), "OneMore 'one_more': its class has a method `call` of its own"),
        (ElsewhereRNN(2), "has a method `get_initial_state` of its own"),
        (TruncatedWrapper(StableRNN(2), 3), "holds a recurrent layer"),
        (keras.layers.Masking(), "which steps are masked"),
        (keras.layers.Dense(2, activation="exponential"), "exponential has no known Lipschitz"),
    ):
        inputs = keras.Input([None, FEATURES])
        y = layer(StableRNN(2, contraction=0.5, return_sequences=True)(inputs))
        found = rnnzoo.certify(keras.Model(inputs, y), epsilon=0.1, input_bound=1.0)
        assert found.k is None
        assert words in found.problem


def test_truncate_shares_weights_names_and_structure(tmp_path):
    model = branched()
    truncated = rnnzoo.truncate(model, k=2)
    assert [v.path for v in truncated.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    assert all(
        one is other for one, other in zip(model.trainable_variables, truncated.trainable_variables)
    )
    wrapped = [w for w in truncated._flatten_layers() if isinstance(w, TruncatedWrapper)]
    assert sorted(w.layer.cell.units for w in wrapped) == [2, 3, 3]
    x = np.random.default_rng(0).uniform(-1, 1, [2, 7, FEATURES])
    before = rnnzoo.verify(truncated, x)
    truncated.save(tmp_path / "t.keras")
    again = keras.models.load_model(tmp_path / "t.keras")
    assert rnnzoo.verify(again, (x, x)).to_dict() == pytest.approx(before.to_dict())
    x[:, :4] = 9.0
    np.testing.assert_array_equal(
        truncated(x)[0][:, -1], truncated(np.where(np.arange(7)[:, None] < 4, -5.0, x))[0][:, -1]
    )


def test_integers_are_features_but_where_they_are_tokens():
    model = sequential(StableRNN(2, "linear", contraction=0.9, **SEQUENCES))
    found = rnnzoo.verify(rnnzoo.truncate(model, k=2), np.full([2, 9, FEATURES], -3))
    assert found.input_bound == 3.0
    assert 0.0 < found.worst <= found.bound
    with pytest.raises(ValueError, match=r"within `input_bound`.*size 3.0, input_bound=1.0"):
        rnnzoo.verify(rnnzoo.truncate(model, k=2), np.full([2, 9, FEATURES], -3), 1.0)
    pixels = keras.Input([None, 1], dtype="uint8")
    scaled = keras.layers.Rescaling(1.0 / 255.0, dtype="float64")(pixels)
    model = keras.Model(pixels, StableRNN(2, "linear", contraction=0.9, **SEQUENCES)(scaled))
    found = rnnzoo.verify(rnnzoo.truncate(model, k=2), np.full([2, 9, 1], 204, "uint8"))
    assert found.input_bound == 204.0
    assert 0.0 < found.worst <= found.bound < 0.9**2 * 8.0 * 10.0
    tokens = keras.Input([None])
    rnn = StableRNN(2, "linear", contraction=0.9, return_sequences=True)
    features = keras.Input([None, 2])
    both = keras.layers.Add()([keras.layers.Embedding(9, 2)(tokens), features])
    truncated = rnnzoo.truncate(keras.Model([tokens, features], rnn(both)), k=2)
    data = (np.full([2, 9], 8), np.full([2, 9, 2], 0.5, "float32"))
    found = rnnzoo.verify(truncated, [(data, None)])
    assert found.input_bound == 0.5
    assert 0.0 < found.worst <= found.bound


def test_an_output_that_is_not_a_number_is_not_hidden():
    layers = StableRNN(2, "linear", contraction=0.9, use_bias=False, **SEQUENCES), dense(1)
    model = sequential(*layers, features=1)
    layers[0].set_weights([np.array([[1.0, -1.0]]), 1e100 * np.eye(2)])
    layers[1].set_weights([np.ones([2, 1]), np.zeros(1)])
    found = rnnzoo.verify(rnnzoo.truncate(model, k=1), np.ones([1, 6, 1]))  # inf - inf
    assert np.isnan(found.worst)
    assert found.bound == np.inf
    with pytest.raises(ValueError, match="`data` must hold at least one time step"):
        rnnzoo.verify(rnnzoo.truncate(model, k=1), [np.zeros([0, 6, 1])])


def test_the_lipschitz_constants_are_those_of_small_errors():
    """An error of 1 would be capped by the size of a signal, or by clipped inputs."""
    steep = keras.layers.Dense(3, "tanh", kernel_initializer=keras.initializers.Identity(10.0))
    small = StableRNN(
        3, contraction=0.5, kernel_initializer=keras.initializers.Constant(1e-3), **SEQUENCES
    )
    found = rnnzoo.certify(sequential(small, steep), input_bound=1e-3).layers
    np.testing.assert_allclose(found[1].lipschitz, 10.0)
    lstm = StableLSTM(3, contraction=0.9, input_bound=0.01, **SEQUENCES)
    model = sequential(lstm)
    constant = rnnzoo.certify(model).layers[0].lipschitz
    x = np.array([[[1e-3, 1e-3]] * 30, [[-1e-3, -1e-3]] * 30])
    y = model(x).numpy()
    gate = np.abs(lstm.cell.kernel.numpy()).sum(0).max()
    assert np.abs(y[0] - y[1]).max() / 2e-3 <= constant
    assert constant > 0.25 * gate


def test_a_truncated_model_is_not_truncated_again():
    truncated = rnnzoo.truncate(sequential(StableRNN(2, contraction=0.5, **SEQUENCES)), k=2)
    with pytest.raises(ValueError, match=r"in the open. Received: TruncatedWrapper"):
        rnnzoo.truncate(truncated, k=9)


def test_axes_of_unknown_size_are_left_to_what_comes_after():
    inputs = keras.Input([None])
    for change in (keras.layers.Activation("tanh"), keras.layers.Rescaling(0.5), lambda x: 0.5 * x):
        column = keras.ops.expand_dims(change(inputs), -1)
        model = keras.Model(inputs, StableRNN(2, contraction=0.5, return_sequences=True)(column))
        assert rnnzoo.certify(model, epsilon=0.1).k == 4  # sqrt(2) / 2**k


def test_states_without_any_weight_warn_of_nothing():
    gru = sequential(keras.layers.GRU(3, "tanh", "sigmoid", True, "zeros", "zeros", **SEQUENCES))
    assert rnnzoo.certify(gru, epsilon=0.1, input_bound=1.0).k == 4  # z = 1/2
    lru = LRU(1, 1, parametrization="polar", **SEQUENCES)
    model = sequential(lru, features=1)
    lru.cell.nu.assign([1.5])
    assert rnnzoo.verify(rnnzoo.truncate(model, k=1), np.zeros([1, 3, 1])).bound == 0.0
    assert rnnzoo.certify(model, input_bound=1.0).bound(1) == np.inf


def test_verify_takes_batches_masks_and_tokens():
    model = keras.Sequential(
        [
            keras.Input([None], dtype="int32"),
            keras.layers.Embedding(9, 4, mask_zero=True),
            HDetachLSTM(3, unit_forget_bias=False, return_sequences=True, **SMALL),
        ]
    )
    x = np.random.default_rng(0).integers(0, 9, [5, 12])
    found = rnnzoo.verify(
        rnnzoo.truncate(model, k=2), tf.data.Dataset.from_tensor_slices((x, x)).batch(2)
    )
    assert 0.0 < found.worst <= found.bound
    assert found.input_bound == 0.0
    difference = np.abs(model(x) - rnnzoo.truncate(model, k=2)(x)).max(-1)
    np.testing.assert_allclose([found.worst, found.mean], [difference.max(), difference.mean()])


def test_the_report_in_plain_types():
    model = sequential(StableRNN(3, contraction=0.5, name="rnn", **SEQUENCES), dense(2))
    found = rnnzoo.certify(model, epsilon=0.1, input_bound=2.0)
    plain = found.to_dict()
    assert plain["k"] == found.k == plain["layers"][0]["k"] or plain["layers"][0]["k"] >= 1
    assert plain["layers"][0]["name"] == "rnn"
    assert plain["layers"][1]["contraction"] is None
    text = str(found)
    assert "StableRNN" in text
    assert f"With k = {found.k}" in text
    assert "initial state outside the set voids it" in text
    with pytest.raises(AttributeError):
        found.k = 3


def test_contraction_of_plain_layers():
    rng = np.random.default_rng(3)
    rnn = keras.layers.SimpleRNN(4, activation="sigmoid", dtype="float64")
    rnn.build([None, None, 2])
    rnn.cell.recurrent_kernel.assign(rng.normal(size=[4, 4]))
    want = 0.25 * np.linalg.norm(rnn.cell.recurrent_kernel.numpy(), 2)
    np.testing.assert_allclose(contraction(rnn), want, rtol=1e-12)
    assert contraction(rnn) >= want
    stable = StableLSTM(3, contraction=0.9, dtype="float64")
    stable.build([None, None, 2])
    plain = keras.layers.LSTM(3, dtype="float64")
    plain.build([None, None, 2])
    plain.set_weights(stable.get_weights())
    assert contraction(stable) == stable.contraction()
    # The set of the plain layer is the smaller one that its own forget gate allows.
    assert contraction(plain, input_bound=1.0) <= stable.contraction()
    assert contraction(plain) == np.inf


def worst_gain(layer, input_bound, pairs=64, ascents=60):
    """The largest sup-norm gain of a GRU's step between states of at most 1."""
    rng = np.random.default_rng(0)
    free = [tf.Variable(2.0 * rng.normal(size=[pairs, n])) for n in (layer.units, layer.units, 2)]
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build(free)

    def gains():
        h, d, x = (tf.tanh(v) for v in free)
        other = tf.clip_by_value(h + 1e-4 * d, -1.0, 1.0)
        before = tf.reduce_max(tf.abs(h - other), 1)
        after = [layer.cell(input_bound * x, [s])[0] for s in (h, other)]
        gain = tf.reduce_max(tf.abs(after[0] - after[1]), 1) / tf.maximum(before, 1e-6)
        return tf.where(before > 1e-6, gain, 0.0)

    @tf.function(autograph=False)
    def ascend():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(gains())
        optimizer.apply(tape.gradient(loss, free), free)

    for _ in range(ascents):
        ascend()
    return gains().numpy().max()


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_bound_of_a_gru_holds_for_adversarial_pairs(reset_after):
    layer = keras.layers.GRU(3, reset_after=reset_after, dtype="float64")
    layer.build([None, None, 2])
    rng = np.random.default_rng(4)
    layer.set_weights([0.7 * rng.normal(size=w.shape) for w in layer.get_weights()])
    assert 0.2 * contraction(layer, 2.0) < worst_gain(layer, 2.0) <= contraction(layer, 2.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: rnnzoo.certify(m, epsilon=0.0), ValueError, r"`epsilon` must be .*=0.0"),
        (lambda m: rnnzoo.certify(m, input_bound="a"), TypeError, r"`input_bound` must be a numb"),
        (lambda m: rnnzoo.truncate(m), ValueError, r"Exactly one of `k` and `epsilon`.*k=None"),
        (lambda m: rnnzoo.truncate(m, k=1, epsilon=1.0), ValueError, r"Exactly one .*epsilon=1.0"),
        (lambda m: rnnzoo.truncate(m, k=0), ValueError, r"`k` must be .* Received: k=0"),
        (lambda m: rnnzoo.truncate(m, k=1, input_bound=1.0), ValueError, r"must be None where `k`"),
        (lambda m: rnnzoo.verify(m, np.ones([1, 2, 2])), ValueError, r"`truncated` must be a mod"),
        (
            lambda m: rnnzoo.verify(rnnzoo.truncate(m, k=1), np.full([1, 2, 2], 3.0), 2.0),
            ValueError,
            r"within `input_bound`.*size 3.0, input_bound=2.0",
        ),
        (
            lambda m: rnnzoo.certify(keras.Sequential([keras.Input([2]), dense(2)])),
            ValueError,
            r"must have a recurrent layer. Received: Sequential",
        ),
        (lambda m: rnnzoo.certify("model"), ValueError, r"`model` must be a Functional"),
        (lambda m: contraction(dense(2)), ValueError, r"`layer` must be a recurrent layer"),
        (lambda m: rnnzoo.certify(m).bound(0), ValueError, r"`k` must be an integer of at least"),
    ],
)
def test_bad_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call(sequential(StableRNN(2, contraction=0.5, **SEQUENCES)))


def test_a_hidden_recurrence_and_an_initial_state_are_refused():
    inputs = keras.Input([None, 2])
    both = keras.layers.Bidirectional(StableRNN(2))(inputs)
    with pytest.raises(ValueError, match=r"in the open. Received: Bidirectional"):
        rnnzoo.truncate(keras.Model(inputs, both), k=2)
    state = keras.Input([2])
    with pytest.raises(ValueError, match="must not give its recurrent layers an initial state"):
        rnnzoo.truncate(keras.Model([inputs, state], StableRNN(2)(inputs, state)), k=2)
