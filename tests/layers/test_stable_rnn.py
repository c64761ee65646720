"""StableRNN: the bound, the contraction, and the equality with Keras's SimpleRNN."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnzoo.activations import facts
from rnnzoo.layers.stable_rnn import StableRNN, StableRNNCell
from rnnzoo.training import TruncatedBPTT

INPUTS = np.random.default_rng(0).normal(size=[3, 6, 2])
MASK = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]], bool)


def twins(units=4, **options):
    ours = StableRNN(units, contraction=0.9, dtype="float64", **options)
    options.pop("form", None)
    theirs = keras.layers.SimpleRNN(units, dtype="float64", **options)
    ours.build([3, None, 2])
    theirs.build([3, None, 2])
    rng = np.random.default_rng(1)
    weights = [0.6 * rng.normal(size=w.shape) for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def values_and_gradients(layer, training, variables=None, **call):
    x = tf.constant(INPUTS)
    variables = layer.trainable_variables if variables is None else variables
    with tf.GradientTape() as tape:
        tape.watch(x)
        results = tf.nest.flatten(layer(x, training=training, **call))
        loss = tf.add_n([tf.reduce_sum(tf.sin(r)) for r in results])
    gradients = tape.gradient(loss, [x, *variables])
    return [np.asarray(v) for v in [*results, *gradients]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": True, "return_state": True},
        {"return_sequences": True, "go_backwards": True},
        {"return_sequences": True, "zero_output_for_mask": True},
        {"activation": "relu", "use_bias": False},
        {"activation": "gelu", "form": "adjoint"},
        {"return_state": True, "form": "autodiff"},
    ],
)
@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("training", [True, False])
def test_equals_keras_with_the_same_weights(options, mask, training):
    ours, theirs = twins(**options)
    state = tf.constant(np.random.default_rng(2).normal(size=[3, 4]))
    call = {"mask": mask, "initial_state": state, "training": training}
    for g, e in zip(values_and_gradients(ours, **call), values_and_gradients(theirs, **call)):
        np.testing.assert_allclose(g, e, atol=1e-12)


def test_stateful_equals_keras_and_two_chunks_equal_one_pass():
    ours, theirs = twins(stateful=True, return_sequences=True)
    chunks = [ours(INPUTS[:, :4]), ours(INPUTS[:, 4:])]
    np.testing.assert_allclose(np.concatenate(chunks, 1), theirs(INPUTS), atol=1e-12)
    ours.reset_state()
    np.testing.assert_allclose(ours(INPUTS[:, :4]), chunks[0], atol=0.0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_equals_itself_in_a_graph(jit_compile):
    ours, _ = twins(return_sequences=True)
    call = tf.function(ours, autograph=False, jit_compile=jit_compile)
    eager = values_and_gradients(ours, True, mask=MASK)
    compiled = values_and_gradients(call, True, ours.trainable_variables, mask=MASK)
    for g, e in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(g, e, atol=1e-12)
    np.testing.assert_allclose(call(INPUTS, mask=MASK), eager[0], atol=1e-12)


def test_the_cell_is_the_single_step():
    ours, _ = twins()
    state = tf.constant(np.random.default_rng(3).normal(size=[3, 4]))
    output, [after] = ours.cell(INPUTS[:, 0], [state])
    np.testing.assert_array_equal(output, after)
    np.testing.assert_allclose(output, ours(INPUTS[:, :1], initial_state=state), atol=1e-14)


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}])
def test_dropout_equals_keras_seed_for_seed(options):
    ours, theirs = twins(seed=7, return_sequences=True, **options)
    np.testing.assert_allclose(
        ours(INPUTS, training=True), theirs(INPUTS, training=True), atol=1e-12
    )
    assert np.abs(ours(INPUTS, training=True) - ours(INPUTS)).max() > 1e-3


def spectral_norm(layer):
    return np.linalg.norm(layer.cell.recurrent_kernel.numpy().astype(np.float64), 2)


@settings(max_examples=12, deadline=None)
@given(
    contraction=st.floats(0.01, 0.999),
    activation=st.sampled_from(["tanh", "relu", "sigmoid", "selu", None]),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 1e4, 1e12]),
    seed=st.integers(0, 1000),
)
def test_the_bound_holds_at_build_and_after_any_optimizer_step(
    contraction, activation, scale, seed
):
    initial = keras.initializers.RandomNormal(stddev=max(scale, 1e-3), seed=seed)
    layer = StableRNN(5, activation, contraction=contraction, recurrent_initializer=initial)
    layer.build([None, None, 2])
    bound = contraction / facts(keras.activations.get(activation)).lipschitz
    assert spectral_norm(layer) <= bound
    assert layer.contraction() <= contraction
    optimizer = keras.optimizers.SGD(1.0)
    rng = np.random.default_rng(seed)
    variables = layer.trainable_variables
    optimizer.apply([scale * rng.normal(size=v.shape) for v in variables], variables)
    assert spectral_norm(layer) <= bound
    assert 0.0 < layer.contraction() <= contraction


def test_a_step_that_stays_inside_is_the_plain_step():
    layer = StableRNN(4, contraction=0.9, recurrent_initializer="zeros")
    layer.build([None, None, 2])
    step = 0.1 * np.eye(4, dtype="float32")
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.apply([step], [layer.cell.recurrent_kernel])
    np.testing.assert_array_equal(layer.cell.recurrent_kernel.numpy(), -step)


@pytest.mark.parametrize("which", ["kernel", "recurrent_kernel", "bias"])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_a_step_to_weights_that_are_not_finite_is_an_error(which, wrap):
    layer = StableRNN(3)
    layer.build([None, None, 2])
    variable = getattr(layer.cell, which)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([variable])
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"):
        wrap(lambda: optimizer.apply([tf.fill(variable.shape, np.nan)], [variable]))()


@pytest.mark.parametrize(
    ("optimizer", "truncated"),
    [
        (lambda: keras.optimizers.SGD(0.5, gradient_accumulation_steps=2), False),
        (lambda: keras.optimizers.SGD(0.5, gradient_accumulation_steps=2), True),
        (lambda: keras.optimizers.Adam(0.3), False),
        (lambda: keras.optimizers.RMSprop(0.1, momentum=0.9), True),
    ],
)
def test_any_training_stays_in_the_set_and_moves_on_its_surface(optimizer, truncated):
    layer = StableRNN(4, contraction=0.9, return_sequences=True)
    model = keras.Sequential([keras.Input([None, 2]), layer, keras.layers.Dense(1)])
    before = layer.cell.recurrent_kernel.numpy()
    trained = TruncatedBPTT(model, k1=2) if truncated else model
    trained.compile(optimizer(), "mse")
    target = 5.0 * np.random.default_rng(3).normal(size=[3, 6, 1])
    norms = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: norms.append(spectral_norm(layer))
    )
    trained.fit(INPUTS, target, batch_size=1, epochs=3, callbacks=[note], verbose=0)
    assert 0.85 < max(norms) <= 0.9
    assert np.abs(layer.cell.recurrent_kernel.numpy() - before).max() > 1e-3


def test_fit_stops_on_weights_that_are_not_finite():
    model = keras.Sequential([StableRNN(3), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(np.inf), "mse")
    assert not model.jit_compile
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"):
        model.fit(INPUTS, np.ones([3, 1]), verbose=0)


def worst_gain(layer, pairs=200, ascents=150):
    """The largest measured ratio of distances over one step, sought by gradient ascent."""
    rng = np.random.default_rng(0)
    units, features = layer.units, layer.cell.kernel.shape[0]
    h = tf.Variable(rng.normal(size=[pairs, units]))
    d = tf.Variable(rng.normal(size=[pairs, units]))
    x = tf.Variable(rng.normal(size=[pairs, features]))
    optimizer = keras.optimizers.Adam(0.05)
    variables = [h, d, x]

    def gains():
        direction = 1e-4 * d / tf.norm(d, axis=1, keepdims=True)
        one, _ = layer.cell(x, [h])
        other, _ = layer.cell(x, [h + direction])
        return tf.norm(one - other, axis=1) / tf.norm(direction, axis=1)

    @tf.function
    def ascend():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(gains())
        optimizer.apply(tape.gradient(loss, variables), variables)

    optimizer.build(variables)
    for _ in range(ascents):
        ascend()
    return gains().numpy().max()


def test_adversarial_pairs_contract_no_slower_than_the_bound_and_come_close():
    layer = StableRNN(6, contraction=0.8, dtype="float64")
    layer.build([None, None, 3])
    layer.cell.recurrent_kernel.assign(
        layer.cell.recurrent_constraint(np.random.default_rng(4).normal(size=[6, 6]))
    )
    worst = worst_gain(layer)
    assert worst <= layer.contraction() * (1.0 + 1e-9)
    assert worst >= 0.97 * layer.contraction()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), activation=st.sampled_from(["tanh", "relu", "sigmoid"]))
def test_two_trajectories_contract_at_least_as_fast_as_it_says(seed, activation):
    layer = StableRNN(4, activation, contraction=0.9, dtype="float64", return_sequences=True)
    layer.build([None, None, 2])
    rng = np.random.default_rng(seed)
    weights = [3.0 * rng.normal(size=w.shape) for w in layer.get_weights()]
    weights[1] = layer.cell.recurrent_constraint(weights[1]).numpy()
    layer.set_weights(weights)
    x, h = 3.0 * rng.normal(size=[2, 7, 2]), 5.0 * rng.normal(size=[2, 2, 4])
    one, other = (layer(x, initial_state=tf.constant(s)).numpy() for s in h)
    distances = np.linalg.norm(np.concatenate([(h[0] - h[1])[:, None], one - other], 1), axis=2)
    assert np.all(distances[:, 1:] <= layer.contraction() * distances[:, :-1] + 1e-12)


def test_contraction_measures_the_weights_present():
    layer = StableRNN(3, "sigmoid", contraction=0.5, dtype="float64")
    layer.build([None, None, 2])
    layer.cell.recurrent_kernel.assign(np.diag([2.0, -8.0, 1.0]))
    np.testing.assert_allclose(layer.contraction(), 2.0, rtol=1e-12)
    assert layer.contraction() >= 2.0
    assert layer.contraction(input_bound=3.0) == layer.contraction()


def test_keras_file_round_trip_keeps_everything(tmp_path):
    layer = StableRNN(
        4,
        "gelu",
        contraction=0.7,
        form="autodiff",
        dropout=0.1,
        seed=3,
        kernel_constraint="non_neg",
        return_sequences=True,
        zero_output_for_mask=True,
    )
    model = keras.Sequential([keras.Input([None, 2]), keras.layers.Masking(), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    config = layer.get_config()
    assert again.layers[-1].get_config() == config
    named = {"units", "contraction", "activation", "form", "seed", "dropout", "kernel_constraint"}
    assert named <= set(config)
    x = INPUTS.astype("float32")
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_computes_in_float32_on_the_stored_weights(policy):
    mixed = StableRNN(4, dtype=policy, return_sequences=True)
    x = INPUTS.astype("float16").astype("float32")
    outputs = mixed(x)
    full = StableRNN(4, return_sequences=True)
    full.build([None, None, 2])
    full.set_weights(mixed.get_weights())
    assert outputs.dtype == mixed.compute_dtype
    assert {w.dtype for w in mixed.weights} == {"float32"}
    x = tf.cast(tf.cast(x, mixed.compute_dtype), tf.float32)
    np.testing.assert_array_equal(outputs, tf.cast(full(x), mixed.compute_dtype))
    output, _ = mixed.cell(tf.cast(x[:, 0], outputs.dtype), mixed.get_initial_state(3))
    np.testing.assert_array_equal(output, outputs[:, 0])


def test_bidirectional_and_a_compiled_fit_step():
    model = keras.Sequential(
        [keras.layers.Bidirectional(StableRNN(4, contraction=0.9)), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    history = model.fit(INPUTS, np.ones([3, 1]), epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
    for layer in (model.layers[0].forward_layer, model.layers[0].backward_layer):
        assert 0.85 < layer.contraction() <= 0.9
    assert model.layers[0].backward_layer.go_backwards


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"units": 0}, ValueError, r"`units` must be .* Received: units=0"),
        ({"units": 2.5}, TypeError, r"`units` must be an integer. Received: units=2.5"),
        ({"contraction": 1.0}, ValueError, r"`contraction` must be .*\(0, 1\).*contraction=1.0"),
        ({"contraction": 0.0}, ValueError, r"`contraction` must be .* Received: contraction=0.0"),
        ({"contraction": "0.9"}, TypeError, r"`contraction` must be a number. Received"),
        ({"activation": "exponential"}, ValueError, r"known Lipschitz.*activation='exponential'"),
        ({"activation": lambda a: 2 * a}, ValueError, r"known Lipschitz constant.*function"),
        (
            {"recurrent_constraint": "unit_norm"},
            ValueError,
            r"`recurrent_constraint` must be None: .* Received: recurrent_constraint='unit_norm'",
        ),
        ({"activation": 0.9}, TypeError, r"`contraction` is given by name: contraction=0.9"),
        ({"form": "quick"}, ValueError, r"`form` must be one of .* Received: form='quick'"),
        ({"dropout": 7.0}, ValueError, r"`dropout` must be .* Received: dropout=7.0"),
        ({"stateful": "yes"}, TypeError, r"`stateful` must be True or False"),
        ({"colour": 1}, ValueError, r"colour"),
    ],
)
def test_bad_arguments(options, error, words):
    with pytest.raises(error, match=words):
        StableRNN(**{"units": 3, **options})


def test_contraction_needs_finite_weights_that_are_there():
    layer = StableRNN(2, name="mine")
    with pytest.raises(ValueError, match=r"layer that is built. Received: layer='mine'"):
        layer.contraction()
    layer.build([None, None, 2])
    layer.cell.recurrent_kernel.assign(np.full([2, 2], np.inf))
    with pytest.raises(ValueError, match="`recurrent_kernel` of mine is not finite"):
        layer.contraction()
    with pytest.raises(ValueError, match=r"`input_bound` must be .* Received: input_bound=-1"):
        layer.contraction(input_bound=-1)


def test_arguments_by_position_are_those_of_keras():
    arguments = (3, "relu", False, "ones", "identity", "ones", "l1", "l2", None, None, "non_neg")
    theirs = keras.layers.SimpleRNN(*arguments)
    config = StableRNN(*arguments).get_config()
    theirs = theirs.get_config()
    assert {name: config[name] for name in theirs} | {"name": theirs["name"]} == theirs
    with pytest.raises(TypeError, match=r"contraction=0.9\. Received: activation=0.9"):
        StableRNN(64, 0.9)
    with pytest.raises(TypeError, match=r"contraction=0.9\. Received: activation=0.9"):
        StableRNNCell(64, 0.9)


def test_the_config_has_every_argument():
    for kind in (StableRNN, StableRNNCell):
        config = kind(2, "relu", contraction=0.7).get_config()
        assert set(inspect.signature(kind.__init__).parameters) - {"self", "kwargs"} <= set(config)
        assert kind.from_config(config).get_config() == config


def test_unroll_integers_and_flags_are_taken_as_by_keras():
    layer = StableRNN(3, unroll=True, return_sequences=np.True_, use_bias=1)
    rolled = StableRNN(3, return_sequences=True)
    x = np.arange(12).reshape(2, 3, 2) % 3
    outputs = layer(x)
    rolled.build([None, None, 2])
    rolled.set_weights(layer.get_weights())
    np.testing.assert_array_equal(outputs, rolled(x.astype("float32")))
    assert layer.get_config()["unroll"] is layer.get_config()["return_sequences"] is True
    np.testing.assert_array_equal(layer(x > 1), rolled((x > 1).astype("float32")))
    unknown = tf.TensorSpec([None, None, 2])
    with pytest.raises(ValueError, match="Cannot unroll a RNN if the time dimension is undefined"):
        tf.function(StableRNN(3, unroll=True)).get_concrete_function(unknown)
