"""TruncatedWrapper against its definition, computed window by window with the wrapped cell."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from references.truncation import (
    LAYERS,
    MASK,
    MODES,
    B,
    F,
    H,
    T,
    assert_same,
    eager,
    graph,
    inputs,
    pair,
    slow,
    slow_masked,
)

from rnnzoo.layers import LRU, HDetachLSTM, TruncatedWrapper


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
@pytest.mark.parametrize("name", ["lstm", pytest.param("cell", marks=pytest.mark.slow), "lru"])
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
@pytest.mark.parametrize(
    ("masked", "sequences"),
    [
        (True, True),
        (False, False),
        pytest.param(True, False, marks=pytest.mark.slow),
        pytest.param(False, True, marks=pytest.mark.slow),
    ],
)
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
@pytest.mark.parametrize("rates", [pytest.param((0.5, 0.0), marks=pytest.mark.slow), (0.3, 0.4)])
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
