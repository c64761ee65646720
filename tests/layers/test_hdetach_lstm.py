"""HDetachLSTM: Keras's LSTM in every value, the algorithm of the paper in its training gradient."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from references import lstm as reference

from rnnzoo.layers import HDetachLSTM

B, T, F, H = 3, 8, 2, 4


def twins(**kwargs):
    """An HDetachLSTM and a Keras LSTM with the same random weights, float64."""
    rng = np.random.default_rng(0)
    p = kwargs.pop("p", 0.0)
    extra = {name: kwargs.pop(name) for name in ("detach", "form") if name in kwargs}
    ours = HDetachLSTM(H, p=p, dtype="float64", **extra, **kwargs)
    theirs = keras.layers.LSTM(H, dtype="float64", use_cudnn=False, **kwargs)
    for layer in (ours, theirs):
        layer.build([B, None, F])
    weights = [rng.normal(size=w.shape) for w in theirs.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs, rng


def values_and_gradients(layer, x, upstream, training=True, **call):
    x = tf.constant(x)
    states = [tf.constant(s) for s in call.pop("initial_state", [])]
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        results = layer(x, training=training, initial_state=states or None, **call)
        results = tf.nest.flatten(results)
        loss = tf.add_n([tf.reduce_sum(r * u) for r, u in zip(results, upstream)])
    sources = [x, *states, *[v.value for v in layer.trainable_variables]]
    return [r.numpy() for r in results], [g.numpy() for g in tape.gradient(loss, sources)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": True, "return_state": True},
        {"go_backwards": True, "return_sequences": True},
        {"use_bias": False, "return_state": True},
        {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid", "return_sequences": True},
        {"zero_output_for_mask": True, "return_sequences": True},
        {"implementation": 1},
    ],
)
def test_p_zero_is_the_keras_lstm(options, masked):
    ours, theirs, rng = twins(**options)
    x = rng.normal(size=(B, T, F))
    call = {"initial_state": list(rng.normal(size=(2, B, H)))}
    if masked:
        call["mask"] = tf.constant(rng.random((B, T)) > 0.5)
    shapes = [(B, T, H) if options.get("return_sequences") else (B, H), (B, H), (B, H)]
    upstream = [rng.normal(size=s) for s in shapes]
    got = values_and_gradients(ours, x, upstream, **dict(call))
    want = values_and_gradients(theirs, x, upstream, **dict(call))
    for a, b in zip([*got[0], *got[1]], [*want[0], *want[1]]):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_dropout_draws_what_the_keras_twin_draws():
    ours, theirs, rng = twins(dropout=0.5, seed=7)
    x, upstream = rng.normal(size=(B, T, F)), [rng.normal(size=(B, H))]
    got, want = (values_and_gradients(layer, x, upstream) for layer in (ours, theirs))
    np.testing.assert_allclose(got[0][0], want[0][0], atol=1e-12)
    np.testing.assert_allclose(got[1][0], want[1][0], atol=1e-11)


def test_recurrent_dropout_runs_and_differs_from_inference():
    ours, _, rng = twins(recurrent_dropout=0.5, seed=7, p=0.5)
    x = rng.normal(size=(B, T, F))
    assert np.abs(ours(x, training=True) - ours(x, training=False)).max() > 1e-3


@pytest.mark.parametrize("detach", ["h", "c"])
@pytest.mark.parametrize("options", [{}, {"form": "autodiff"}, {"implementation": 1, "dropout": 0}])
def test_training_gradient_with_given_draws_is_numpy_s(detach, options, monkeypatch):
    ours, _, rng = twins(p=0.5, detach=detach, return_sequences=True, **options)
    keep = rng.random(T) > 0.5
    monkeypatch.setattr(ours, "draw", lambda x: tf.constant(keep))
    x, states = rng.normal(size=(B, T, F)), list(rng.normal(size=(2, B, H)))
    upstream = [rng.normal(size=(B, T, H))]
    _, got = values_and_gradients(ours, x, upstream, initial_state=states)
    zero = np.zeros([B, H])
    want = reference.gradients(
        [x, *states, *ours.get_weights()], [*upstream, zero, zero], **{f"keep_{detach}": keep}
    )
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_one_draw_a_step_for_the_whole_batch_at_the_asked_rate():
    ours, _, rng = twins(p=0.3, seed=5)
    x = tf.constant(rng.normal(size=(16, 1, F)))
    h, c = tf.ones([16, H], tf.float64), tf.zeros([16, H], tf.float64)

    @tf.function(autograph=False)
    def reaches_h():
        with tf.GradientTape() as tape:
            tape.watch(h)
            loss = tf.reduce_sum(ours(x, initial_state=[h, c], training=True))
        return tf.reduce_any(tape.gradient(loss, h) != 0.0, axis=1)

    draws = np.stack([reaches_h().numpy() for _ in range(600)])
    assert (draws == draws[:, :1]).all(), "rows of one batch were cut differently"
    cut = 1.0 - draws[:, 0].mean()
    assert abs(cut - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 600)


def test_draws_differ_between_steps_and_calls_and_repeat_from_the_seed():
    x = tf.zeros([B, 64, F])
    first, again, other = (HDetachLSTM(H, p=0.5, seed=seed) for seed in (3, 3, 4))
    one, two = first.draw(x).numpy(), first.draw(x).numpy()
    assert one.shape == (64,)
    assert 0 < one.sum() < 64
    assert (one != two).any()
    np.testing.assert_array_equal(again.draw(x).numpy(), one)
    assert (other.draw(x).numpy() != one).any()


def test_inference_never_detaches():
    ours, theirs, rng = twins(p=1.0)
    x, upstream = rng.normal(size=(B, T, F)), [rng.normal(size=(B, H))]
    _, got = values_and_gradients(ours, x, upstream, training=False)
    _, want = values_and_gradients(theirs, x, upstream, training=False)
    np.testing.assert_allclose(got[0], want[0], atol=1e-12)


def test_p_changes_inside_a_compiled_step():
    ours, theirs, rng = twins(p=1.0)
    x = tf.constant(rng.normal(size=(B, T, F)))
    traces = []

    def gradient(layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True))
        return tape.gradient(loss, x)

    @tf.function(autograph=False)
    def compiled():
        traces.append(1)
        return gradient(ours)

    plain = gradient(theirs).numpy()
    assert np.abs(compiled().numpy() - plain).max() > 1e-3
    ours.p = 0.0
    np.testing.assert_allclose(compiled().numpy(), plain, atol=1e-12)
    assert len(traces) == 1
    assert ours.get_config()["p"] == 0.0


def test_weights_are_those_of_the_lstm_and_move_both_ways():
    ours, theirs, rng = twins()
    assert [w.path.split("/")[-1] for w in ours.weights] == ["kernel", "recurrent_kernel", "bias"]
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    x = rng.normal(size=(B, T, F))
    theirs.set_weights([rng.normal(size=w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"activation": "relu"}])
def test_no_time_steps_at_all(options):
    ours = HDetachLSTM(H, return_sequences=True, return_state=True, **options)
    ours.build([None, None, F])
    spec = [tf.TensorSpec([None, None, F]), tf.TensorSpec([None, H]), tf.TensorSpec([None, H])]
    call = tf.function(lambda x, h, c: ours(x, initial_state=[h, c]), input_signature=spec)
    outputs, h, c = call(tf.zeros([2, 0, F]), tf.ones([2, H]), 2 * tf.ones([2, H]))
    assert outputs.shape == (2, 0, H)
    np.testing.assert_array_equal(h, 1.0)
    np.testing.assert_array_equal(c, 2.0)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_float32_inside(policy):
    layer = HDetachLSTM(H, dtype=policy, return_state=True)
    x = np.random.default_rng(0).normal(size=(B, 200, F))
    output, *_ = layer(x, training=True)
    assert output.dtype == layer.compute_dtype
    assert all(w.dtype == "float32" for w in layer.weights)
    full = HDetachLSTM(H)
    full.build([B, None, F])
    full.set_weights(layer.get_weights())
    bound = {"mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}[policy]
    np.testing.assert_allclose(tf.cast(output, "float32"), full(x), atol=bound)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"units": 0}, ValueError, "`units` must be an integer of at least 1. Received: units=0"),
        ({"units": 2.5}, TypeError, "`units` must be an integer. Received: units=2.5"),
        ({"units": True}, TypeError, "`units` must be an integer"),
        ({"p": 1.5}, ValueError, r"`p` must be a number in \[0, 1\]. Received: p=1.5"),
        ({"p": -0.1}, ValueError, r"Received: p=-0.1"),
        ({"p": float("nan")}, ValueError, "Received: p=nan"),
        ({"p": "half"}, TypeError, "`p` must be a number. Received: p='half'"),
        ({"detach": "x"}, ValueError, "`detach` must be one of 'h', 'c'. Received: detach='x'"),
        ({"form": "quick"}, ValueError, "`form` must be one of .* Received: form='quick'"),
        ({"dropout": 7}, ValueError, "`dropout` must be a number in .* Received: dropout=7"),
        ({"recurrent_dropout": -1}, ValueError, "`recurrent_dropout` must be a number"),
        ({"use_cudnn": 1}, ValueError, "`use_cudnn` must be one of .* Received: use_cudnn=1"),
        ({"activation": 0.25}, TypeError, "`p` is given by name: p=0.25. Received: activation"),
        ({"seed": -1}, ValueError, "`seed` must be an integer of at least 0. Received: seed=-1"),
        ({"return_sequences": 2}, TypeError, "`return_sequences` must be True or False"),
        ({"return_state": None}, TypeError, "`return_state` must be True or False"),
        ({"colour": "red"}, ValueError, "Unrecognized keyword arguments.*colour"),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        HDetachLSTM(**{"units": H, **arguments})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"sequences": np.ones([B, T])}, r"\[batch, time, features\]|ndim=3"),
        ({"mask": np.ones([B, T + 1], bool)}, r"`mask` of .* Received: mask.shape=\(3, 9\)"),
        ({"initial_state": [np.ones([B, H])]}, r"`initial_state` of .* must be 2 tensor"),
        ({"initial_state": [np.ones([B, H + 1])] * 2}, r"Received: \[\(3, 5\), \(3, 5\)\]"),
        ({"initial_state": [np.ones([B + 1, H])] * 2}, r"`initial_state` of"),
    ],
)
def test_bad_calls(call, words):
    layer = HDetachLSTM(H)
    layer.build([None, None, F])
    call = {"sequences": np.ones([B, T, F], "float32"), **call}
    call = {k: tf.nest.map_structure(tf.constant, v) for k, v in call.items()}
    with pytest.raises(ValueError, match=words):
        layer(**call)


def test_p_setter_refuses_what_the_constructor_refuses():
    layer = HDetachLSTM(H)
    with pytest.raises(ValueError, match="Received: p=2"):
        layer.p = 2


def test_arguments_by_position_are_those_of_keras():
    arguments = (3, "relu", "hard_sigmoid", False, "ones", "identity", "zeros", True, "l1", "l2")
    theirs = keras.layers.LSTM(*arguments).get_config()
    config = HDetachLSTM(*arguments).get_config()
    assert {name: config[name] for name in theirs} | {"name": theirs["name"]} == theirs
    with pytest.raises(TypeError, match=r"p=0.25\. Received: activation=0.25"):
        HDetachLSTM(128, 0.25)


def test_the_config_has_every_argument():
    layer = HDetachLSTM(2, p=0.5, use_cudnn=True, implementation=1, detach="c")
    config = layer.get_config()
    names = set(inspect.signature(HDetachLSTM.__init__).parameters) - {"self", "kwargs"}
    assert names <= set(config)
    assert config["use_cudnn"] is True
    assert config["implementation"] == 1
    assert HDetachLSTM.from_config(config).get_config() == config


def test_unroll_use_cudnn_integers_and_flags_are_taken_as_by_keras():
    options = {"unroll": True, "use_cudnn": True, "return_sequences": np.True_}
    ours, theirs = HDetachLSTM(H, **options), keras.layers.LSTM(H, return_sequences=1)
    x = np.arange(B * T * F).reshape(B, T, F) % 5
    outputs = ours(x)
    theirs.build([None, None, F])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(outputs, theirs(x), atol=1e-6)
    np.testing.assert_allclose(ours(x > 2), theirs((x > 2).astype("float32")), atol=1e-6)
    assert ours.get_config()["return_sequences"] is ours.get_config()["unroll"] is True
    assert HDetachLSTM(H, dtype="mixed_float16")(x).dtype == tf.float16
    unknown = tf.TensorSpec([None, None, F])
    with pytest.raises(ValueError, match="Cannot unroll a RNN if the time dimension is undefined"):
        tf.function(HDetachLSTM(H, unroll=True)).get_concrete_function(unknown)


@pytest.mark.parametrize("use_cudnn", ["auto", True])
def test_bidirectional_runs_the_layers_own_loops_whatever_use_cudnn_says(use_cudnn):
    """Keras may run two LSTMs as one fused operation, which would not detach."""
    layer = HDetachLSTM(H, p=1.0, use_cudnn=use_cudnn, return_sequences=True)
    both = keras.layers.Bidirectional(layer)
    x = tf.constant(np.random.default_rng(0).normal(size=[B, T, F]).astype("float32"))
    both.build(x.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(both(x, training=True)[..., :H])
    one = HDetachLSTM(H, p=1.0, return_sequences=True)
    one.build(x.shape)
    one.set_weights(both.forward_layer.get_weights())
    with tf.GradientTape() as alone:
        alone.watch(x)
        expected = tf.reduce_sum(one(x, training=True))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, x), alone.gradient(expected, x), atol=1e-6)
