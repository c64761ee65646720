"""What TCN, GatedConv and WaveNet promise alike, and that each computes what its oracle does."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from references import causal

import rnnzoo
from rnnzoo import tasks
from rnnzoo.layers import TCN, GatedConv, WaveNet

B, T, F, H = 3, 11, 3, 4
NAMES = ("tcn", "gated_conv", "bottleneck", "wave_net")


def make(kind, units=H, **more):
    if kind == "tcn":
        return TCN(units, levels=2, kernel_size=3, kernel_initializer="he_normal", **more)
    if kind == "gated_conv":
        return GatedConv(units, levels=3, kernel_size=3, **more)
    if kind == "bottleneck":
        return GatedConv(units, levels=2, kernel_size=4, bottleneck=2, **more)
    return WaveNet(units, levels=2, repeats=2, kernel_size=2, skip_units=5, **more)


def oracle(name, x, layer):
    weights, units = by_convolution(layer), layer.cell.units
    if name == "tcn":
        return causal.tcn(x, weights, levels=2)
    if name == "gated_conv":
        return causal.gated_conv(x, weights, 3, units)
    if name == "bottleneck":
        return causal.gated_conv(x, weights, 2, units, bottleneck=2)
    return causal.wave_net(x, weights, 2, 2, units, skip_units=5)


def convolutions(layer):
    return [x for x in layer._flatten_layers() if type(x).__name__ == "CausalConv"]


def by_convolution(layer):
    return {
        c.name: (c.kernel.numpy(), None if c.gain is None else c.gain.numpy(), c.bias.numpy())
        for c in convolutions(layer)
    }


def randomised(layer, features=F):
    layer.build([None, None, features])
    rng = np.random.default_rng(2)
    for v in layer.trainable_variables:
        v.assign(rng.normal(size=v.shape, scale=0.5))
    return layer


def data(batch=B, steps=T, features=F, dtype="float64"):
    return np.random.default_rng(1).normal(size=(batch, steps, features)).astype(dtype)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def double(name):
    """A layer in float64 that returns sequences and states."""
    return randomised(make(name, dtype="float64", return_sequences=True, return_state=True))


@pytest.mark.parametrize(("features", "weight_norm"), [(F, True), (H, False)])
def test_values_are_the_oracles(name, features, weight_norm):
    more = {"weight_norm": weight_norm, "return_sequences": True}
    layer = randomised(make(name, dtype="float64", **more), features)
    x = data(features=features)
    expected = oracle(name, x, layer)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12, atol=1e-12)
    single = randomised(make(name, **more), features)
    np.testing.assert_allclose(single(x), oracle(name, x, single), rtol=2e-5, atol=2e-5)
    last = randomised(make(name, dtype="float64", weight_norm=weight_norm), features)
    np.testing.assert_allclose(last(x), expected[:, -1], rtol=1e-12, atol=1e-12)


def test_the_receptive_field_is_exact_and_the_layer_causal(name):
    layer = randomised(make(name, dtype="float64", return_sequences=True))
    for v in layer.trainable_variables:  # all paths open: positive weights and inputs
        v.assign(np.abs(v.numpy()) + 0.05)
    reach = layer.receptive_field
    x = tf.constant(np.abs(data(1, reach + 4)))
    for t in (reach + 1, reach - 1):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(layer(x)[:, t])
        seen = np.abs(tape.gradient(y, x).numpy()[0]).max(-1)
        assert (seen[t - reach + 1 : t + 1] > 0).all()
        assert not seen[t + 1 :].any()
        assert not seen[: t - reach + 1].any()


def test_receptive_fields_by_formula():
    assert TCN(25, levels=8, kernel_size=7).receptive_field == 1 + 2 * 6 * (2**8 - 1)
    assert TCN(4).receptive_field == 1 + 2 * 7 * 255
    assert GatedConv(4, levels=5, kernel_size=4, bottleneck=2).receptive_field == 16
    assert WaveNet(4).receptive_field == 1 + 1 + 2 * 1023  # dilations 1 to 512, twice
    assert [c.dilation for c in WaveNet(4).cell.convs[1:12]] == [*(2**i for i in range(10)), 1]


def test_a_masked_step_does_not_happen(name, double):
    """At the end, at the beginning, in between: and NaN at masked steps reaches nothing."""
    mask = np.array([[1] * 7 + [0] * 4, [0] * 3 + [1] * 8, [1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1]], bool)
    x = np.where(mask[..., None], data(), np.nan)
    with tf.GradientTape() as tape:
        outputs, *states = double(tf.constant(x), mask=tf.constant(mask))
        loss = tf.reduce_sum(tf.where(mask[..., None], outputs, 0.0) ** 2)
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, double.trainable_variables))
    for row, real in enumerate(mask):
        y, *end = double(x[row : row + 1, real])
        np.testing.assert_allclose(outputs[row][real], y[0], atol=1e-12)
        for a, b in zip(states, end, strict=True):
            np.testing.assert_allclose(a[row], b[0], atol=1e-12)
        newest = np.cumsum(real) - 1
        shown = np.where(newest[:, None] >= 0, y.numpy()[0][np.maximum(newest, 0)], 0.0)
        np.testing.assert_allclose(outputs[row], shown, atol=1e-12)
    last = randomised(make(name, dtype="float64"))
    np.testing.assert_allclose(last(x, mask=tf.constant(mask)), outputs[:, -1], atol=1e-12)
    zero = randomised(make(name, dtype="float64", return_sequences=True, zero_output_for_mask=True))
    np.testing.assert_allclose(
        zero(x, mask=tf.constant(mask)), outputs * mask[..., None], atol=1e-12
    )
    nothing, *same = double(x, mask=tf.zeros([B, T], tf.bool), initial_state=states)
    assert not nothing.numpy().any()
    assert all((a == b).numpy().all() for a, b in zip(same, states))


@pytest.mark.parametrize("sizes", [(1,) * T, (4, 0, 7), (10, 1), (2, 3, 6)])
def test_chunks_of_any_length_equal_one_pass(double, sizes):
    x = data()
    whole, *last = double(x)
    state, outputs, start = double.get_initial_state(B), [], 0
    for size in sizes:
        y, *state = double(x[:, start : start + size], initial_state=state)
        outputs.append(y)
        start += size
    np.testing.assert_allclose(tf.concat(outputs, 1), whole, atol=1e-12)
    for a, b in zip(state, last, strict=True):
        np.testing.assert_array_equal(a.shape, b.shape)
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_states_are_the_past_inputs_of_each_convolution(double):
    x = data()
    _, first, *_ = double(x)
    span = double.cell.convs[0].span or double.cell.convs[1].span
    sizes = [c.span * c.channels for c in double.cell.convs if c.span]
    assert double.state_size == sizes
    assert sum(c.span for c in double.cell.convs) == double.receptive_field - 1
    if double.cell.convs[0].span:  # behind a bottleneck the past is that of the narrow channels
        np.testing.assert_array_equal(first, x[:, -span:].reshape([B, -1]))


def test_no_rows_no_steps(double):
    for shape in ([0, T, F], [B, 0, F]):
        y, *states = tf.function(
            lambda x: double(x), input_signature=[tf.TensorSpec([None, None, F], tf.float64)]
        )(tf.zeros(shape, tf.float64))
        assert y.shape == [*shape[:2], H]
        assert [s.shape[0] for s in states] == [shape[0]] * len(states)
        assert not any(s.numpy().any() for s in states)


def test_go_backwards_and_stateful_are_keras_own(name):
    x = data()
    kind = {"dtype": "float64", "return_sequences": True}
    forward = randomised(make(name, **kind))
    backward = randomised(make(name, go_backwards=True, **kind))
    np.testing.assert_allclose(backward(x), forward(x[:, ::-1]), atol=1e-12)
    kept = make(name, stateful=True, **kind)
    kept.build([B, None, F])
    kept.set_weights([w.numpy() for w in forward.weights])
    pieces = tf.concat([kept(x[:, :6]), kept(x[:, 6:])], 1)
    np.testing.assert_allclose(pieces, forward(x), atol=1e-12)


def test_a_stream_of_steps_equals_the_model_and_its_step_has_no_loop(name):
    model = keras.Sequential(
        [keras.Input((None, F)), make(name, return_sequences=True, name="causal")]
    )
    stream, x = rnnzoo.explicit_state(model), data(dtype="float32")
    state, outputs = stream.initial_state(B), []
    step = tf.function(lambda x, state: stream.step(x, state), autograph=False)
    for t in range(T):
        y, state = step(x[:, t], state)
        outputs.append(y)
    np.testing.assert_allclose(tf.stack(outputs, 1), model(x), atol=2e-6)
    layer = model.layers[0]
    expected = [f"causal_{c.name}" for c in layer.cell.convs if c.span]
    assert stream.state_names == [*expected, "causal_output"]
    graph = step.get_concrete_function(
        tf.TensorSpec([B, F]), {n: tf.TensorSpec(s.shape, s.dtype) for n, s in state.items()}
    ).graph
    kinds = [o.type for o in graph.get_operations()]
    # One small product a convolution: nothing is run over the past.
    assert kinds.count("MatMul") == len(convolutions(layer))
    assert not {"While", "StatelessWhile", "Conv2D"} & set(kinds)


@pytest.mark.slow
def test_the_export_has_a_step(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, F)), make("tcn", return_sequences=True, name="tcn")]
    )
    target = rnnzoo.export.export_model(model, tmp_path / "served")
    described = json.loads((target / "serving.json").read_text())
    assert set(described["signatures"]) == {"serving_default", "step", "initial_state"}
    state = described["signatures"]["step"]["inputs"]["state_tcn_level1_conv2"]
    assert state["shape"] == [None, 2 * 2 * H]
    assert described["largest_difference_from_source"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tcn", "bottleneck"])
def test_truncated_bptt_carries_the_past(kind):
    def trainer(k1, rate):
        keras.utils.set_random_seed(1)
        layer = make(kind, return_sequences=True, seed=3)
        model = keras.Sequential([keras.Input((None, F)), layer])
        trainer = model if k1 is None else rnnzoo.TruncatedBPTT(model, k1)
        trainer.compile(keras.optimizers.SGD(rate), "mse")
        return trainer

    x, y = data(dtype="float32"), data(features=H, dtype="float32")
    frozen = trainer(4, 0.0)
    loss = frozen.train_on_batch(x, y)
    assert loss == pytest.approx(frozen.evaluate(x, y, verbose=0), rel=1e-5)
    whole, full = trainer(T, 0.1), trainer(None, 0.1)
    whole.train_on_batch(x, y)
    full.train_on_batch(x, y)
    for a, b in zip(whole.model.weights, full.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_dropout_drops_a_channel_for_all_time_and_only_in_training(name):
    layer = randomised(make(name, units=16, dropout=0.5, seed=7, return_sequences=True))
    x = tf.ones([2, 30, F])
    np.testing.assert_array_equal(layer(x), layer(x))
    dropped = layer.cell.dropouts[0](tf.ones([2, 30, 16]), training=True).numpy()
    assert (dropped == dropped[:, :1]).all()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    a, b = layer(x, training=True), layer(x, training=True)
    assert (a != b).numpy().any()
    again = randomised(make(name, units=16, dropout=0.5, seed=7, return_sequences=True))
    again.cell.dropouts[0](tf.ones([2, 30, 16]), training=True)
    np.testing.assert_array_equal(again(x, training=True), a)


def test_each_convolution_draws_its_own_weights_reproducibly(name):
    def kernels(**more):
        layer = make(name, units=F, **more)
        layer.build([None, None, F])
        return [c.kernel.numpy() for c in convolutions(layer)]

    first = kernels(seed=3)
    for a, b in zip(first, kernels(seed=3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all((a != b).any() for a, b in zip(first, kernels(seed=400)))
    assert all((a != b).any() for a, b in zip(kernels(), kernels()))
    for i, a in enumerate(first):
        assert not any(a.shape == b.shape and (a == b).all() for b in first[i + 1 :])


def test_an_initializers_own_seed_is_the_layers():
    def kernels():
        layer = TCN(3, levels=1, kernel_initializer=keras.initializers.HeNormal(seed=5))
        layer.build([None, None, 3])
        return [c.kernel.numpy() for c in layer.cell.convs]

    (a, b), (c, d) = kernels(), kernels()
    np.testing.assert_array_equal([a, b], [c, d])
    assert (a != b).any()


def test_half_precision_is_close_to_single(name):
    full = randomised(make(name, return_sequences=True))
    x = data(dtype="float32")
    for policy, bound in (("mixed_float16", 0.01), ("mixed_bfloat16", 0.08)):
        half = randomised(make(name, return_sequences=True, dtype=policy))
        y = tf.cast(half(x), tf.float32)
        np.testing.assert_allclose(y, full(x), atol=bound * np.abs(full(x)).max())


def test_tasks_take_them(name):
    task = tasks.get("adding", length=6, train_size=8, validation_size=4, batch_size=4)
    layer = make(name)
    model = task.build_model(layer)
    assert model.output_shape == (None, 1)
    model = tasks.get("copy", delay=3).build_model(make(name))
    assert model.output_shape == (None, None, 9)
