"""The simple recurrence against NumPy: values, every gradient, every form, every context."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from references import simple_rnn as reference

from rnnzoo.activations import FACTS, named
from rnnzoo.recurrences._loops import SecondDerivativeError
from rnnzoo.recurrences.simple_rnn import simple_rnn

CONTEXTS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def make(B=3, T=6, F=2, H=4, seed=0):
    rng = np.random.default_rng(seed)
    arguments = [0.7 * rng.normal(size=s) for s in [(B, T, F), (B, H), (F, H), (H, H), (H,)]]
    upstream = [rng.normal(size=s) for s in [(B, T, H), (B, H)]]
    return arguments, upstream, rng


def run(arguments, upstream, context="graph", **options):
    tensors = [tf.constant(a) for a in arguments]

    def both():
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            results = simple_rnn(*tensors, **options)
            loss = tf.add_n([tf.reduce_sum(r * u) for r, u in zip(results, upstream)])
        return results, tape.gradient(loss, tensors)

    results, gradients = CONTEXTS[context](both)()
    return [*[r.numpy() for r in results], *[g.numpy() for g in gradients]]


def expected(arguments, upstream, activation="tanh", mask=None):
    return [
        *reference.values(*arguments, activation, mask),
        *reference.gradients(arguments, upstream, activation, mask),
    ]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("form", ["xla", "adjoint", "autodiff"])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_numpy(context, form, masked):
    arguments, upstream, rng = make()
    mask = rng.random((3, 6)) > 0.4 if masked else None
    got = run(arguments, upstream, context, form=form, mask=mask)
    for g, e in zip(got, expected(arguments, upstream, mask=mask), strict=True):
        np.testing.assert_allclose(g, e, atol=1e-12)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
@pytest.mark.parametrize("context", ["graph", pytest.param("eager", marks=pytest.mark.slow)])
def test_activations_equal_numpy(activation, context):
    arguments, upstream, rng = make()
    mask = rng.random((3, 6)) > 0.3
    got = run(arguments, upstream, context, activation=activation, mask=mask, form="adjoint")
    for g, e in zip(got, expected(arguments, upstream, activation, mask), strict=True):
        np.testing.assert_allclose(g, e, atol=1e-11)


@pytest.mark.parametrize("activation", named(lambda known: known.elementwise))
def test_slopes_of_elementwise_activations_equal_autodiff(activation):
    arguments, upstream, _ = make(T=3)
    one = run(arguments, upstream, activation=activation, form="adjoint")
    other = run(arguments, upstream, activation=activation, form="autodiff")
    for g, e in zip(one, other, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-10, atol=1e-10)


def test_an_activation_across_units_takes_the_autodiff_road():
    arguments, upstream, _ = make()
    auto = run(arguments, upstream, activation="softmax")
    plain = run(arguments, upstream, activation="softmax", form="autodiff")
    for g, e in zip(auto, plain, strict=True):
        np.testing.assert_array_equal(g, e)
    np.testing.assert_allclose(auto[0].sum(-1), 1.0, rtol=1e-12)
    with pytest.raises(ValueError, match=r'`form` must be "plain" or "auto".*softmax'):
        run(arguments, upstream, activation="softmax", form="adjoint")


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_remainder_and_shard(steps, shards):
    arguments, upstream, rng = make(T=steps)
    mask = rng.random((3, steps)) > 0.3
    got = run(arguments, upstream, shards=shards, mask=mask)
    for g, e in zip(got, expected(arguments, upstream, mask=mask), strict=True):
        np.testing.assert_allclose(g, e, atol=1e-11)


def test_two_chunks_equal_one_pass_also_in_gradient():
    arguments, upstream, _ = make(T=7)
    x, h, *weights = [tf.constant(a) for a in arguments]
    with tf.GradientTape() as tape:
        tape.watch([x, h, *weights])
        first, state = simple_rnn(x[:, :3], h, *weights)
        second, state = simple_rnn(x[:, 3:], state, *weights)
        outputs = tf.concat([first, second], 1)
        loss = tf.reduce_sum(outputs * upstream[0]) + tf.reduce_sum(state * upstream[1])
    got = [outputs, state, *tape.gradient(loss, [x, h, *weights])]
    for g, e in zip(got, expected(arguments, upstream), strict=True):
        np.testing.assert_allclose(g, e, atol=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_dynamic_batch_and_time_with_none_of_either(jit_compile):
    arguments, _, _ = make()
    _, _, *weights = [tf.constant(a) for a in arguments]
    signature = [
        tf.TensorSpec([None, None, 2], tf.float64),
        tf.TensorSpec([None, 4], tf.float64),
        tf.TensorSpec([None, None], tf.bool),
    ]

    @tf.function(input_signature=signature, autograph=False, jit_compile=jit_compile)
    def f(x, h, mask):
        with tf.GradientTape() as tape:
            tape.watch([x, h])
            outputs, state = simple_rnn(x, h, *weights, mask=mask, form="adjoint")
            loss = tf.reduce_sum(outputs) + tf.reduce_sum(state)
        return outputs, state, tape.gradient(loss, h)

    # XLA compiles the loop's body even for no steps, and refuses to read an empty array in it.
    for batch, steps in [(2, 5), (5, 1), (0, 3)] + [(1, 0)] * (not jit_compile):
        x, h = np.ones([batch, steps, 2]), 0.3 * np.ones([batch, 4])
        mask = np.ones([batch, steps], bool)
        outputs, state, d_h = f(tf.constant(x), tf.constant(h), tf.constant(mask))
        want = reference.values(x, h, *arguments[2:])
        np.testing.assert_allclose(outputs, want[0], atol=1e-12)
        np.testing.assert_allclose(state, want[1], atol=1e-12)
        if not steps:
            np.testing.assert_array_equal(d_h, np.ones([batch, 4]))


def hessian_product(form, arguments):
    x, h, kernel, recurrent, bias = [tf.constant(a) for a in arguments]
    with tf.GradientTape() as outer:
        outer.watch(recurrent)
        with tf.GradientTape() as inner:
            inner.watch(recurrent)
            outputs, _ = simple_rnn(x, h, kernel, recurrent, bias, form=form)
            loss = tf.reduce_sum(outputs**2)
        first = tf.reduce_sum(inner.gradient(loss, recurrent))
    return outer.gradient(first, recurrent)


def test_second_derivative_is_refused_by_the_adjoint():
    arguments, _, _ = make()
    # Traced ahead of use by TensorFlow, the eager refusal comes when the derivative runs.
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"simple_rnn cannot.*autodiff"):
        hessian_product("adjoint", arguments)
    with pytest.raises(SecondDerivativeError, match=r'simple_rnn cannot.*form="plain"'):
        tf.function(lambda: hessian_product("adjoint", arguments), autograph=False)()


def test_second_derivative_of_autodiff_equals_finite_differences():
    arguments, _, _ = make(T=4)

    def first(shift):
        moved = [a.copy() for a in arguments]
        moved[3] += shift
        outputs, _ = reference.values(*moved)
        upstream = [2.0 * outputs, np.zeros_like(moved[1])]
        return reference.gradients(moved, upstream)[3]

    eps = 1e-5
    want = (first(eps) - first(-eps)) / (2.0 * eps)
    np.testing.assert_allclose(hessian_product("autodiff", arguments), want, rtol=1e-7, atol=1e-8)


def test_the_table_of_slopes_holds_the_common_activations():
    names = named(lambda known: known.slope_of_output is not None)
    assert names == ["linear", "relu", "sigmoid", "tanh"]
    assert not FACTS[keras.activations.softmax].elementwise


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": np.ones([3, 2])}, r"`inputs` must be a float32 or float64.*\(3, 2\)"),
        ({"inputs": np.ones([3, 6, 2], "int32")}, r"`inputs` must be .*int32"),
        ({"initial_state": np.ones([2, 4])}, r"`initial_state` must have the shape \[3, 4\]"),
        ({"kernel": np.ones([3, 4])}, r"`kernel` must have the shape \[2, 4\]"),
        ({"recurrent_kernel": np.ones([4, 3])}, r"`recurrent_kernel` must .*\[units, units\]"),
        ({"bias": np.ones([5])}, r"`bias` must have the shape \[4\]"),
        ({"bias": np.ones([4], "float32")}, r"`bias` must have the dtype .*float64.*float32"),
        ({"mask": np.ones([3, 5], bool)}, r"`mask` must be a bool tensor of shape \(3, 6\)"),
        ({"mask": np.ones([3, 6])}, r"`mask` must be a bool .*float64"),
        ({"form": "fast"}, r"`form` must be one of 'auto'.*Received: form='fast'"),
        ({"shards": 0}, r"`shards` must be .* at least 1. Received: shards=0"),
    ],
)
def test_bad_arguments(change, words):
    arguments, _, _ = make()
    names = ("inputs", "initial_state", "kernel", "recurrent_kernel", "bias")
    with pytest.raises(ValueError, match=words):
        simple_rnn(**{**dict(zip(names, arguments)), **change})
