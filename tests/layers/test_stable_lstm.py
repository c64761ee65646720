"""StableLSTM: the budgets, the derivation's bound against adversaries, the equality with Keras."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnzoo.layers._gate_budgets import FORGET_SHARES, gate_budgets
from rnnzoo.layers.stable_lstm import StableLSTM, StableLSTMCell

INPUTS = np.random.default_rng(0).uniform(-1.0, 1.0, size=[3, 6, 2])
MASK = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]], bool)


def built(units=4, features=2, dtype="float64", **options):
    layer = StableLSTM(units, dtype=dtype, **options)
    layer.build([3, None, features])
    return layer


def saturate(layer, seed=0, scale=100.0):
    """Random weights projected from far outside: every budget is used up."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(variable.constraint(scale * rng.normal(size=variable.shape)))


def column_sums(layer, name):
    return np.abs(getattr(layer.cell, name).numpy().astype(np.float64)).sum(0).reshape(4, -1)


def test_the_budgets_of_the_default():
    budgets = gate_budgets(0.95, 0.64, 2.0)
    logit = np.log(0.64 / 0.36)
    forget, rest = 0.2 * logit, 0.95 - 0.64 * (1 + 0.2 * logit)
    np.testing.assert_allclose(budgets["recurrent"], [4 * rest, forget, rest, 3.8], rtol=1e-9)
    np.testing.assert_allclose(budgets["input"][1], 0.4 * logit / 2.0, rtol=1e-9)
    np.testing.assert_allclose(budgets["bias"][1], 0.4 * logit, rtol=1e-9)
    assert [budgets["input"][g] for g in (0, 2, 3)] == [None] * 3
    assert [budgets["bias"][g] for g in (0, 2, 3)] == [None] * 3
    assert sum(FORGET_SHARES.values()) == 1.0


def test_the_lemma_of_the_derivation():
    """i(1-i)g a + i(1-g^2) b <= max(a/4, b), and equal at its two corners."""
    i, g = np.meshgrid(np.linspace(0, 1, 401), np.linspace(0, 1, 401))
    for a, b in [
        (1.0, 0.0),
        (0.0, 1.0),
        (4.0, 1.0),
        (3.9, 1.0),
        (5.0, 1.0),
        (8.0, 1.0),
        (1.0, 3.0),
    ]:
        supremum = np.max(i * (1 - i) * g * a + i * (1 - g**2) * b)
        np.testing.assert_allclose(supremum, max(a / 4.0, b), rtol=1e-12)


@settings(max_examples=10, deadline=None)
@given(
    forget_bound=st.floats(0.51, 0.97),
    share=st.floats(0.02, 0.98),
    input_bound=st.sampled_from([0.1, 1.0, 30.0]),
    scale=st.sampled_from([0.0, 1.0, 1e4, 1e12]),
    seed=st.integers(0, 1000),
)
def test_the_bound_holds_at_build_and_after_any_optimizer_step(
    forget_bound, share, input_bound, scale, seed
):
    contraction = forget_bound + share * (1.0 - forget_bound)
    bounds = {"contraction": contraction, "forget_bound": forget_bound, "input_bound": input_bound}
    initial = keras.initializers.RandomNormal(stddev=max(scale, 1e-3), seed=seed)
    layer = StableLSTM(3, **bounds, recurrent_initializer=initial, bias_initializer="ones")
    layer.build([None, None, 2])
    optimizer = keras.optimizers.SGD(1.0)
    rng = np.random.default_rng(seed)
    variables = layer.trainable_variables
    for _ in range(2):
        budgets = gate_budgets(**bounds)
        sums = column_sums(layer, "recurrent_kernel").max(1)
        assert np.all(sums <= budgets["recurrent"])
        assert column_sums(layer, "kernel")[1].max() <= budgets["input"][1]
        assert layer.cell.bias.numpy().astype(float)[3:6].max() <= budgets["bias"][1]
        assert layer.contraction() <= contraction
        np.testing.assert_allclose(layer.carry_bound(), 1 / (1 - forget_bound), rtol=1e-9)
        optimizer.apply([scale * rng.normal(size=v.shape) for v in variables], variables)
    assert layer.contraction() <= contraction


def test_saturated_weights_use_the_budget_up():
    layer = built(contraction=0.95)
    saturate(layer)
    layer.cell.bias.assign(layer.cell.bias_constraint(np.full(16, 9.0)))
    np.testing.assert_allclose(layer.contraction(), 0.95, rtol=1e-9)
    # Now without the output gate, whose budget is the whole bound by itself.
    recurrent = layer.cell.recurrent_kernel.numpy()
    recurrent[:, 12:] = 0.0
    layer.cell.recurrent_kernel.assign(recurrent)
    np.testing.assert_allclose(layer.contraction(), 0.95, rtol=1e-9)
    assert layer.contraction(input_bound=0.5) < layer.contraction()
    assert layer.contraction(input_bound=5.0) == layer.contraction()


def test_contraction_follows_from_the_weights_present():
    layer = built(units=1, features=1, forget_bound=0.75, contraction=0.9)
    layer.cell.kernel.assign([[5.0, -0.3, 7.0, 7.0]])
    layer.cell.recurrent_kernel.assign([[1.2, 0.5, -0.1, 6.0]])
    layer.cell.bias.assign([9.0, 0.1, 9.0, 9.0])
    forget = 1.0 / (1.0 + np.exp(-(0.5 + 0.3 + 0.1)))  # 0.711, below the bound
    f = np.linspace(0.0, forget, 200_001)
    cell = np.max(f * (1.0 + 4.0 * (1.0 - f) * 0.5)) + max(1.2 / 4.0, 0.1)
    np.testing.assert_allclose(layer.contraction(), max(cell, 6.0 / 4.0), rtol=1e-9)
    layer.cell.recurrent_kernel.assign([[1.2, 0.5, -0.1, 0.0]])
    np.testing.assert_allclose(layer.contraction(), cell, rtol=1e-9)
    assert layer.carry_bound() == 4.0
    layer.cell.bias.assign([0.0, 1e4, 0.0, 0.0])
    assert layer.contraction() == np.inf


def worst_gain(layer, pairs=300, ascents=200):
    """The largest sup-norm gain over one step from admissible states, by gradient ascent."""
    rng = np.random.default_rng(0)
    units, features = layer.units, layer.cell.kernel.shape[0]
    carry = layer.carry_bound()
    shapes = [[pairs, units]] * 4 + [[pairs, features]]
    free = [tf.Variable(2.0 * rng.normal(size=s)) for s in shapes]
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build(free)

    def gains():
        h, c, dh, dc, x = (tf.tanh(v) for v in free)
        one = [h, carry * c]
        # Towards the inside from each state, so that the other state is admissible too.
        other = [
            tf.clip_by_value(h + 1e-4 * dh, -1.0, 1.0),
            tf.clip_by_value(carry * c + 1e-4 * dc, -carry, carry),
        ]
        x = layer.input_bound * x

        def distance(a, b):
            return tf.reduce_max(tf.abs(tf.concat(a, 1) - tf.concat(b, 1)), 1)

        before = distance(one, other)
        after = distance(layer.cell(x, one)[1], layer.cell(x, other)[1])
        return tf.where(before > 1e-6, after / tf.maximum(before, 1e-6), 0.0)

    @tf.function
    def ascend():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(gains())
        optimizer.apply(tape.gradient(loss, free), free)

    for _ in range(ascents):
        ascend()
    return gains().numpy().max()


@pytest.mark.parametrize("units", [1, 2, 5])
@pytest.mark.parametrize("free", [0.3, 3.0])
def test_adversarial_pairs_contract_no_slower_than_the_bound(units, free):
    layer = built(units=units, contraction=0.95)
    rng = np.random.default_rng(units)
    for variable, scale in zip(layer.trainable_variables, (free, 100.0, free)):
        variable.assign(variable.constraint(scale * rng.normal(size=variable.shape)))
    worst = worst_gain(layer)
    assert worst <= layer.contraction() * (1.0 + 1e-8)
    assert worst >= 0.5 * layer.contraction()


def test_an_adversary_comes_close_to_the_bound():
    """One unit whose candidate has its whole budget: with i = 1, g = 0, f = F the bound is met."""
    layer = built(units=1, features=1, contraction=0.95)
    budget = gate_budgets(0.95, 0.64, 1.0)
    _, u_f, u_g, _ = budget["recurrent"]
    layer.cell.recurrent_kernel.assign([[0.0, u_f, u_g, 0.0]])
    layer.cell.kernel.assign([[0.0, budget["input"][1], 0.0, 0.0]])
    layer.cell.bias.assign([40.0, budget["bias"][1], -u_g, 0.0])
    worst = worst_gain(layer)
    assert 0.995 * layer.contraction() <= worst <= layer.contraction() * (1.0 + 1e-8)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.3, 1.0, 10.0]))
def test_two_trajectories_contract_at_least_as_fast_as_it_says(seed, scale):
    layer = built(contraction=0.9)
    saturate(layer, seed, scale)
    rng = np.random.default_rng(seed)
    carry, rate = layer.carry_bound(), layer.contraction()
    one, other = (
        [tf.constant(rng.uniform(-b, b, size=[8, 4])) for b in (1.0, carry)] for _ in range(2)
    )
    for _ in range(6):
        before = np.abs(np.concatenate(one, 1) - np.concatenate(other, 1)).max(1)
        x = tf.constant(rng.normal(scale=3.0, size=[8, 2]))
        one, other = layer.cell(x, one)[1], layer.cell(x, other)[1]
        after = np.abs(np.concatenate(one, 1) - np.concatenate(other, 1)).max(1)
        assert np.all(after <= rate * before + 1e-13)
        assert np.abs(one[0]).max() <= 1.0
        assert np.abs(one[1]).max() <= carry


@pytest.mark.parametrize("scale", [0.3, 100.0])
def test_the_bound_of_several_steps_is_tighter_than_the_power_and_holds(scale):
    """On trajectories whose start is sought by gradient ascent."""
    layer = built(units=3, contraction=0.9)
    saturate(layer, scale=scale)
    steps = 4
    rate, bound = layer.contraction(), layer.contraction(steps=steps)
    assert layer.contraction(steps=1) == rate
    assert 0.0 < layer.contraction(steps=20_000) < 1e-300  # no number of steps gains nothing
    assert bound <= rate**steps
    if scale < 1.0:
        assert bound < 0.99 * rate**steps
    carry, rng = layer.carry_bound(), np.random.default_rng(1)
    free = [tf.Variable(2.0 * rng.normal(size=[100, 3])) for _ in range(4)]
    x = tf.Variable(2.0 * rng.normal(size=[100, steps, 2]))
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([*free, x])

    def gains():
        one, other = ([tf.tanh(h), carry * tf.tanh(c)] for h, c in (free[:2], free[2:]))
        before = tf.reduce_max(tf.abs(tf.concat(one, 1) - tf.concat(other, 1)), 1)
        for t in range(steps):
            inputs = layer.input_bound * tf.tanh(x[:, t])
            one, other = layer.cell(inputs, one)[1], layer.cell(inputs, other)[1]
        after = tf.reduce_max(tf.abs(tf.concat(one, 1) - tf.concat(other, 1)), 1)
        return after / tf.maximum(before, 1e-9)

    @tf.function(autograph=False)
    def ascend():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(tf.math.log(gains() + 1e-12))
        optimizer.apply(tape.gradient(loss, [*free, x]), [*free, x])

    for _ in range(60):
        ascend()
    assert 0.05 * bound < gains().numpy().max() <= bound


def twins(**options):
    ours = built(**options)
    options.pop("form", None)
    theirs = keras.layers.LSTM(4, dtype="float64", **options)
    theirs.build([3, None, 2])
    rng = np.random.default_rng(1)
    weights = [0.6 * rng.normal(size=w.shape) for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def values_and_gradients(layer, **call):
    x = tf.constant(INPUTS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        results = tf.nest.flatten(layer(x, **call))
        loss = tf.add_n([tf.reduce_sum(tf.sin(r)) for r in results])
    return [*results, *tape.gradient(loss, [x, *layer.trainable_variables])]


@pytest.mark.parametrize(
    "options",
    [
        {"return_sequences": True, "return_state": True},
        {"return_sequences": True, "go_backwards": True, "use_bias": False},
        {"return_state": True, "form": "autodiff"},
    ],
)
@pytest.mark.parametrize("mask", [None, MASK])
def test_equals_keras_with_the_same_weights(options, mask):
    ours, theirs = twins(**options)
    state = [tf.constant(s) for s in np.random.default_rng(2).normal(size=[2, 3, 4])]
    call = {"mask": mask, "initial_state": state, "training": True}
    for g, e in zip(values_and_gradients(ours, **call), values_and_gradients(theirs, **call)):
        np.testing.assert_allclose(g, e, atol=1e-11)


def test_stateful_equals_keras_and_two_chunks_equal_one_pass():
    ours, theirs = twins(stateful=True, return_sequences=True)
    chunks = [ours(INPUTS[:, :4]), ours(INPUTS[:, 4:])]
    np.testing.assert_allclose(np.concatenate(chunks, 1), theirs(INPUTS), atol=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_equals_itself_in_a_graph(jit_compile):
    ours, _ = twins(return_sequences=True)
    call = tf.function(ours, autograph=False, jit_compile=jit_compile)
    np.testing.assert_allclose(call(INPUTS), ours(INPUTS), atol=1e-12)


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}])
def test_dropout_equals_keras_seed_for_seed(options):
    ours, theirs = twins(seed=7, return_sequences=True, **options)
    np.testing.assert_allclose(
        ours(INPUTS, training=True), theirs(INPUTS, training=True), atol=1e-12
    )


@pytest.mark.parametrize("training", [False, True])
def test_inputs_beyond_the_bound_are_clipped_in_the_layer_and_in_the_cell(training):
    layer = built(input_bound=0.25, return_sequences=True)
    x = tf.constant(INPUTS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=training)
    gradient = tape.gradient(outputs, x).numpy()
    np.testing.assert_allclose(outputs, layer(np.clip(INPUTS, -0.25, 0.25)), atol=1e-14)
    assert np.all(gradient[np.abs(INPUTS) > 0.25] == 0.0)
    assert np.all(gradient[np.abs(INPUTS) < 0.25] != 0.0)
    states = layer.get_initial_state(3)
    output, after = layer.cell(x[:, 0], states)
    np.testing.assert_allclose(output, outputs[:, 0], atol=1e-14)
    np.testing.assert_array_equal(output, after[0])


def test_the_clipping_bound_is_not_rounded_up():
    layer = built(dtype="float32", input_bound=0.1)
    assert layer.cell.clip(tf.constant([5.0])).numpy().astype(float)[0] <= 0.1


@pytest.mark.parametrize("which", ["kernel", "recurrent_kernel", "bias"])
def test_a_step_to_weights_that_are_not_finite_is_an_error_in_a_graph(which):
    layer = built()
    variable = getattr(layer.cell, which)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([variable])
    step = tf.function(lambda: optimizer.apply([tf.fill(variable.shape, np.inf)], [variable]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="is not finite"):
        step()


def test_keras_file_round_trip_keeps_everything(tmp_path):
    bounds = {"contraction": 0.8, "forget_bound": 0.6, "input_bound": 0.5}
    options = {"seed": 3, "dropout": 0.2, "return_sequences": True}
    layer = StableLSTM(4, **bounds, form="adjoint", **options)
    model = keras.Sequential([keras.Input([None, 2]), keras.layers.Masking(), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    config = layer.get_config()
    assert again.layers[-1].get_config() == config
    bounds = [config[n] for n in ("units", "contraction", "forget_bound", "input_bound", "form")]
    assert bounds == [4, 0.8, 0.6, 0.5, "adjoint"]
    x = INPUTS.astype("float32")
    np.testing.assert_array_equal(again(x), model(x))
    assert again.layers[-1].contraction() == layer.contraction() <= 0.8


def test_mixed_precision_computes_in_float32_on_the_stored_weights():
    mixed = StableLSTM(4, dtype="mixed_float16", return_sequences=True)
    x = INPUTS.astype("float16")
    outputs = mixed(x)
    full = built(dtype="float32", return_sequences=True)
    full.set_weights(mixed.get_weights())
    assert outputs.dtype == tf.float16
    np.testing.assert_array_equal(outputs, tf.cast(full(x.astype("float32")), tf.float16))
    output, _ = mixed.cell(x[:, 0], mixed.get_initial_state(3))
    np.testing.assert_allclose(output, outputs[:, 0], atol=1e-3)


def test_bidirectional_and_a_compiled_fit_step():
    layer = keras.layers.Bidirectional(StableLSTM(4, contraction=0.9))
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(5.0, clipnorm=1.0), "mse")
    model.fit(INPUTS, np.ones([3, 1]), epochs=4, verbose=0)
    assert not model.jit_compile
    for half in (layer.forward_layer, layer.backward_layer):
        assert 0.5 < half.contraction() <= 0.9


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"units": -1}, ValueError, r"`units` must be .* Received: units=-1"),
        ({"forget_bound": 0.5}, ValueError, r"`forget_bound` must be above 0.5.*forget_bound=0.5"),
        ({"forget_bound": 1.5}, ValueError, r"`forget_bound` must be .* Received.*=1.5"),
        (
            {"contraction": 0.6},
            ValueError,
            r"`contraction` must be above `forget_bound`.*contraction=0.6, forget_bound=0.64",
        ),
        ({"contraction": 1.0}, ValueError, r"`contraction` must be .* Received: contraction=1.0"),
        ({"input_bound": 0.0}, ValueError, r"`input_bound` must be .* Received: input_bound=0.0"),
        ({"input_bound": "a"}, TypeError, r"`input_bound` must be a number. Received"),
        ({"unit_forget_bias": True}, ValueError, r"`unit_forget_bias` must be None or False"),
        ({"bias_constraint": "non_neg"}, ValueError, r"`bias_constraint` must be None: the con"),
        ({"kernel_constraint": "non_neg"}, ValueError, r"`kernel_constraint` must be None"),
        ({"recurrent_constraint": "non_neg"}, ValueError, r"`recurrent_constraint` must be None"),
        ({"activation": "relu"}, ValueError, r"`activation` must be 'tanh'.*activation='relu'"),
        (
            {"recurrent_activation": "hard_sigmoid"},
            ValueError,
            r"`recurrent_activation` must be 'sigmoid'.*='hard_sigmoid'",
        ),
        ({"use_cudnn": 3}, ValueError, r"`use_cudnn` must be .* Received: use_cudnn=3"),
        ({"activation": 0.9}, TypeError, r"`contraction` is given by name: contraction=0.9"),
        ({"form": 1}, ValueError, r"`form` must be one of .* Received: form=1"),
    ],
)
def test_bad_arguments(options, error, words):
    with pytest.raises(error, match=words):
        StableLSTM(**{"units": 3, **options})


def test_arguments_by_position_are_those_of_keras():
    arguments = (3, "tanh", "sigmoid", False, "ones", "identity", "ones", False, "l1", "l2")
    theirs = keras.layers.LSTM(*arguments).get_config()
    config = StableLSTM(*arguments).get_config()
    assert {name: config[name] for name in theirs} | {"name": theirs["name"]} == theirs
    for kind in (StableLSTM, StableLSTMCell):
        with pytest.raises(TypeError, match=r"contraction=0.9\. Received: activation=0.9"):
            kind(64, 0.9)


def test_the_config_has_every_argument():
    for kind in (StableLSTM, StableLSTMCell):
        config = kind(2, contraction=0.7, implementation=1).get_config()
        assert set(inspect.signature(kind.__init__).parameters) - {"self", "kwargs"} <= set(config)
        assert config["implementation"] == 1
        assert kind.from_config(config).get_config() == config


def test_unroll_use_cudnn_integers_and_flags_are_taken_as_by_keras():
    layer = StableLSTM(3, unroll=True, use_cudnn=True, return_sequences=np.True_, use_bias=1)
    rolled = StableLSTM(3, return_sequences=True)
    x = np.arange(12).reshape(2, 3, 2) % 2
    outputs = layer(x)
    rolled.build([None, None, 2])
    rolled.set_weights(layer.get_weights())
    np.testing.assert_array_equal(outputs, rolled(x.astype("float32")))
    np.testing.assert_array_equal(layer(x > 0), rolled(x.astype("float32")))
    assert layer.get_config()["use_cudnn"] is layer.get_config()["unroll"] is True
    unknown = tf.TensorSpec([None, None, 2])
    with pytest.raises(ValueError, match="Cannot unroll a RNN if the time dimension is undefined"):
        tf.function(StableLSTM(3, unroll=True)).get_concrete_function(unknown)
