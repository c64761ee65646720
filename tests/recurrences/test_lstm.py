"""The LSTM recurrence against NumPy: values, every gradient, every form, every context."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from references import lstm as reference

from rnnzoo.recurrences import SecondDerivativeError, lstm

FORMS = ("xla", "adjoint", "autodiff")
CONTEXTS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def make(B=3, T=9, F=2, H=4, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(B, T, F), (B, H), (B, H), (F, 4 * H), (H, 4 * H), (4 * H,)]
    arguments = [rng.normal(size=s) for s in shapes]
    upstream = [rng.normal(size=s) for s in [(B, T, H), (B, H), (B, H)]]
    return arguments, upstream, rng


def run(arguments, upstream, context="graph", **options):
    tensors = [tf.constant(a) for a in arguments]

    def both():
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            results = lstm(*tensors, **options)
            loss = tf.add_n([tf.reduce_sum(r * u) for r, u in zip(results, upstream)])
        return results, tape.gradient(loss, tensors)

    results, gradients = CONTEXTS[context](both)()
    return [r.numpy() for r in results], [g.numpy() for g in gradients]


# Every option for every form in a graph; in the other contexts all of them at once, and singly
# among the slow tests.
EVERY_CASE = [
    pytest.param(
        *case, marks=[] if case[0] == "graph" or case[2] == "mask+detach" else pytest.mark.slow
    )
    for case in itertools.product(CONTEXTS, FORMS, ["plain", "mask", "detach", "mask+detach"])
]


@pytest.mark.parametrize(("context", "form", "options"), EVERY_CASE)
def test_equals_numpy(context, form, options):
    arguments, upstream, rng = make()
    given = {}
    if "mask" in options:
        given["mask"] = rng.random((3, 9)) > 0.4
    if "detach" in options:
        given["keep_h"], given["keep_c"] = rng.random((2, 9)) > 0.5
    *expected, _ = reference.values(*arguments, mask=given.get("mask"))
    expected_gradients = reference.gradients(arguments, upstream, **given)
    results, gradients = run(arguments, upstream, context, form=form, **given)
    for got, want in zip([*results, *gradients], [*expected, *expected_gradients]):
        np.testing.assert_allclose(got, want, atol=1e-11)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8, 101])
def test_every_remainder_of_the_unrolled_loop(steps):
    arguments, upstream, _ = make(T=steps, B=2)
    results, gradients = run(arguments, upstream)
    *expected, _ = reference.values(*arguments)
    np.testing.assert_allclose(results[0], expected[0], atol=1e-11)
    for got, want in zip(gradients, reference.gradients(arguments, upstream)):
        np.testing.assert_allclose(got, want, atol=1e-10)


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_shards_change_nothing(shards):
    arguments, upstream, rng = make(B=5)
    options = {"mask": rng.random((5, 9)) > 0.3, "keep_h": rng.random(9) > 0.5}
    results, gradients = run(arguments, upstream, shards=shards, **options)
    for got, want in zip(gradients, reference.gradients(arguments, upstream, **options)):
        np.testing.assert_allclose(got, want, atol=1e-11)
    np.testing.assert_allclose(
        results[0], reference.values(*arguments, mask=options["mask"])[0], atol=1e-12
    )


def test_detaching_every_step_of_h_leaves_no_road_through_h():
    arguments, upstream, _ = make()
    nothing = np.zeros(9, bool)
    _, gradients = run(arguments, upstream, keep_h=nothing, keep_c=nothing)
    np.testing.assert_array_equal(gradients[1], 0.0)
    np.testing.assert_array_equal(gradients[2], 0.0)


def test_dynamic_batch_and_time_down_to_nothing():
    arguments, _, rng = make()
    spec = [tf.TensorSpec([None, None, 2], tf.float64), *[tf.TensorSpec([None, 4], tf.float64)] * 2]
    f = tf.function(
        lambda x, h, c: lstm(x, h, c, *arguments[3:]), input_signature=spec, autograph=False
    )
    for B, T in [(1, 1), (1, 7), (7, 1), (3, 9), (0, 4), (4, 0)]:
        x, h, c = rng.normal(size=(B, T, 2)), rng.normal(size=(B, 4)), rng.normal(size=(B, 4))
        for got, want in zip(f(x, h, c), reference.values(x, h, c, *arguments[3:])):
            np.testing.assert_allclose(got, want, atol=1e-12)


def test_two_chunks_equal_one_pass():
    (x, h, c, *weights), _, _ = make()
    whole = lstm(x, h, c, *weights)
    first = lstm(x[:, :4], h, c, *weights)
    second = lstm(x[:, 4:], *first[1:], *weights)
    np.testing.assert_allclose(tf.concat([first[0], second[0]], 1), whole[0], atol=1e-13)
    np.testing.assert_allclose(second[2], whole[2], atol=1e-13)


def test_one_tape_over_several_calls_and_a_persistent_one():
    arguments, upstream, _ = make()
    tensors = [tf.constant(a) for a in arguments]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(tensors)
        once = tf.reduce_sum(lstm(*tensors)[0] * upstream[0])
        twice = once + tf.reduce_sum(lstm(*tensors)[0] * upstream[0])
    np.testing.assert_allclose(
        tape.gradient(twice, tensors[3]), 2 * tape.gradient(once, tensors[3]), atol=1e-12
    )


def second_derivative(form, wrap=lambda f: f):
    arguments, _, _ = make(B=2, T=4, F=1, H=2)
    tensors = [tf.constant(a) for a in arguments]
    function = wrap(lambda *a: lstm(*a, form=form)[0])
    with tf.GradientTape() as outer:
        outer.watch(tensors)
        with tf.GradientTape() as inner:
            inner.watch(tensors)
            loss = tf.reduce_sum(function(*tensors) ** 2)
        gradient = inner.gradient(loss, tensors[4])
        total = tf.reduce_sum(gradient * np.arange(16.0).reshape(2, 8))
    return tensors, outer, total


@pytest.mark.parametrize("context", ["eager", "graph"])
def test_second_derivatives_of_the_adjoint_are_refused(context):
    tensors, outer, total = second_derivative("adjoint", CONTEXTS[context])
    # Traced ahead of use by TensorFlow, the refusal comes when the derivative runs.
    with pytest.raises((SecondDerivativeError, tf.errors.InvalidArgumentError)) as refusal:
        outer.gradient(total, tensors[3])
    assert 'Pass form=\\"plain\\"' in str(refusal.value) or 'Pass form="plain"' in str(
        refusal.value
    )


def test_second_derivatives_of_the_adjoint_are_refused_inside_a_graph():
    def whole():
        tensors, outer, total = second_derivative("adjoint")
        return outer.gradient(total, tensors[3])

    with pytest.raises(SecondDerivativeError, match='form="plain"'):
        tf.function(whole, autograph=False)()


def test_second_derivatives_of_autodiff_equal_finite_differences():
    tensors, outer, total = second_derivative("autodiff")
    exact = outer.gradient(total, tensors[3]).numpy()
    arguments = [t.numpy() for t in tensors]

    def directional(kernel):
        changed = [*arguments[:3], kernel, *arguments[4:]]
        outputs, *_ = reference.values(*changed)
        zero = np.zeros([2, 2])
        gradient = reference.gradients(changed, [2 * outputs, zero, zero])[4]
        return np.sum(gradient * np.arange(16.0).reshape(2, 8))

    numeric = np.zeros_like(exact)
    for index in np.ndindex(*exact.shape):
        step = np.zeros_like(exact)
        step[index] = 1e-6
        difference = directional(arguments[3] + step) - directional(arguments[3] - step)
        numeric[index] = difference / 2e-6
    np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {0: np.zeros([3, 9])},
            r"`inputs` must be a float32 or float64 .*Received: inputs of shape",
        ),
        ({0: np.zeros([3, 9, 2], "int32")}, "dtype int32"),
        ({1: np.zeros([3, 5])}, r"`initial_h` must have the shape \[3, 4\]. Received"),
        ({2: np.zeros([2, 4])}, r"`initial_c` must have the shape"),
        ({3: np.zeros([3, 16])}, r"`kernel` must have the shape \[2, 16\]"),
        ({4: np.zeros([4, 12])}, r"`recurrent_kernel` must have the shape \[units, 4 \* units\]"),
        ({5: np.zeros([15])}, r"`bias` must have the shape"),
    ],
)
def test_wrong_shapes_are_named(change, words):
    arguments, _, _ = make()
    for position, value in change.items():
        arguments[position] = value
    with pytest.raises(ValueError, match=words):
        lstm(*arguments)


def test_unknown_form_is_refused():
    arguments, _, _ = make()
    with pytest.raises(ValueError, match=r"`form` must be one of .* Received: form='fast'"):
        lstm(*arguments, form="fast")


def test_no_shards_at_all_is_refused():
    arguments, _, _ = make()
    with pytest.raises(ValueError, match=r"`shards` must be an integer of at least 1.*shards=0"):
        lstm(*arguments, shards=0)
