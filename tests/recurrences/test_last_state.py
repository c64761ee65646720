"""The last state by powers and by loops against complex NumPy in float64, and the rule."""

import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.recurrences import _forms, lru, lru_last
from tests.references import lru as reference

B, N, U = 3, 4, 5


def problem(t, features=2, low=0.3, high=0.95, seed=0):
    """x, initial, eigenvalues, b `[N, F]`, c `[U, N]`, d `[U, F]`, upstream, final."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    eigenvalues = rng.uniform(low, high, N) * np.exp(1j * rng.uniform(0, 2 * np.pi, N))
    given = (rng.normal(size=(B, t, features)), draw(B, N), eigenvalues)
    projections = draw(N, features), draw(U, N), rng.normal(size=(U, features))
    return *given, *projections, rng.normal(size=(B, U)), draw(B, N)


def masks(t):
    mask = np.random.default_rng(3).random((B, t)) < 0.6
    mask[0] = False
    mask[1, -1] = False
    return mask


def numpy_gradients(x, initial, eigenvalues, b, c, d, upstream, final, mask):
    """(output, state, gradients of all but the last three), one step at a time."""
    given = (x, initial, eigenvalues, np.ones(N), b, c, d, mask)
    y, last, _ = reference.lru(*given)
    every = np.zeros(y.shape)
    every[:, -1] = upstream
    dx, dh, dl, _, db, dc, dd = reference.lru_gradients(*given, every, final)
    return y[:, -1], last, (dx, dh, dl, db, dc, dd)


def arguments(x, initial, eigenvalues, b, c, d, dtype="float64"):
    values = [
        x,
        initial.real,
        initial.imag,
        eigenvalues.real,
        eigenvalues.imag,
        np.concatenate([b.real.T, b.imag.T], 1),
        np.concatenate([c.real.T, -c.imag.T], 0),
        d.T,
    ]
    return [tf.constant(v, dtype) for v in values]


def flat(dx, dh, dl, db, dc, dd):
    """As the arguments stand."""
    db = np.concatenate([db.real.T, db.imag.T], 1)
    dc = np.concatenate([dc.real.T, -dc.imag.T], 0)
    return [dx, dh.real, dh.imag, dl.real, dl.imag, db, dc, dd.T]


def run(given, mask, weights, form):
    with tf.GradientTape() as tape:
        tape.watch(given)
        results = lru_last(*given, mask=mask, form=form)
        loss = tf.add_n([tf.reduce_sum(r * w) for r, w in zip(results, weights)])
    return results, tape.gradient(loss, given)


WAYS = {
    "eager": run,
    "graph": tf.function(run, autograph=False),
    "xla": tf.function(run, autograph=False, jit_compile=True),
}


def check(t, form, way, masked, tolerance, dtype="float64", **ring):
    *given, upstream, final = problem(t, **ring)
    given[2] = given[2].astype("complex64").astype(complex) if dtype == "float32" else given[2]
    mask = masks(t) if masked else np.ones([B, t], bool)
    y, last, wanted = numpy_gradients(*given, upstream, final, mask)
    weights = [tf.constant(v, dtype) for v in (upstream, final.real, final.imag)]
    handed = tf.constant(mask) if masked else None
    results, gradients = WAYS[way](arguments(*given, dtype=dtype), handed, weights, form)
    pairs = [*zip(results, [y, last.real, last.imag]), *zip(gradients, flat(*wanted))]
    for got, want in pairs:
        np.testing.assert_allclose(got, want, atol=tolerance * max(1.0, np.abs(want).max()))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("form", "way"),
    [
        *[("powers", way) for way in WAYS],
        ("adjoint", "eager"),
        ("adjoint", "graph"),
        ("plain", "graph"),
    ],
)
def test_values_and_every_gradient_equal_numpy(form, way, masked):
    for t in (1, 2, 30) if way == "eager" else (30,):
        check(t, form, way, masked, 1e-11)


@pytest.mark.parametrize("t", [784, 3000])
def test_long_memory_over_thousands_of_steps(t):
    ring = {"features": 1, "low": 0.999, "high": 0.9999}
    check(t, "powers", "graph", masked=t == 784, tolerance=1e-11, **ring)
    check(t, "powers", "graph", masked=False, tolerance=2e-6, dtype="float32", **ring)


def test_float32_equals_the_scan():
    *given, _, _ = problem(784, features=1, low=0.9, high=0.9999)
    single = arguments(*given, dtype="float32")
    outputs, *final = lru(*single)
    results = lru_last(*single, form="powers")
    for got, want in zip(results, [outputs[:, -1], *final]):
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


def test_a_vector_and_no_skip():
    x, initial, eigenvalues, b, _, _, *_ = problem(6, features=5)
    given = arguments(x, initial, eigenvalues, b, *problem(6, features=5)[4:6])
    for d in (tf.constant(np.arange(5.0)), None):
        wanted = lru(*given[:7], d, form="plain")
        for form in ("powers", "adjoint"):
            results = lru_last(*given[:7], d, form=form)
            for got, want in zip(results, [wanted[0][:, -1], *wanted[1:]]):
                np.testing.assert_allclose(got, want, atol=1e-12)


def test_eigenvalues_of_zero():
    x, initial, eigenvalues, b, c, d, *weights = problem(5)
    given = arguments(x, initial, 0 * eigenvalues, b, c, d)
    weights = [tf.constant(v) for v in (weights[0], weights[1].real, weights[1].imag)]
    results, gradients = run(given, None, weights, "powers")
    state = x[:, -1] @ b.T
    np.testing.assert_allclose(results[1], state.real, atol=1e-12)
    others = run(given, None, weights, "adjoint")[1]
    for got, want in zip(gradients, others):
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_what_stands_at_masked_steps_reaches_nothing():
    x, initial, eigenvalues, b, c, d, *_ = problem(12)
    mask = masks(12)
    dirty = np.where(mask[..., None], x, np.nan)
    weights = [tf.ones([B, U], tf.float64), *[tf.ones([B, N], tf.float64)] * 2]
    for form in ("powers", "adjoint"):
        pairs = []
        for inputs in (x, dirty):
            given = arguments(inputs, initial, eigenvalues, b, c, d)
            pairs.append(tf.nest.flatten(run(given, tf.constant(mask), weights, form)))
        for got, want in zip(*pairs):
            np.testing.assert_allclose(got, want, atol=1e-12)


def test_second_derivatives_of_the_powers():
    """d2/dlambda2 of the sum of 12 powers of a real lambda = 0.9."""
    one, state = tf.ones([1, 12, 1], tf.float64), tf.zeros([1, 1], tf.float64)
    value, zero = tf.constant([0.9], tf.float64), tf.constant([0.0], tf.float64)
    ends = tf.constant([[1.0, 0.0]], tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(value)
        with tf.GradientTape() as inner:
            inner.watch(value)
            last = lru_last(one, state, state, value, zero, ends, tf.transpose(ends))[1]
        first = inner.gradient(last, value)
    powers = np.arange(12)
    exact = (powers * (powers - 1) * 0.9 ** np.maximum(powers - 2, 0)).sum()
    np.testing.assert_allclose(outer.gradient(first, value), [exact], rtol=1e-12)


def test_no_step_at_all():
    given = arguments(*problem(5)[:6])
    for inputs, mask in [(given[0][:, :0], None), (given[0], tf.zeros([B, 5], tf.bool))]:
        y, re, im = lru_last(inputs, *given[1:], mask=mask)
        np.testing.assert_array_equal(y, np.zeros([B, U]))
        np.testing.assert_array_equal(re, given[1])
        np.testing.assert_array_equal(im, given[2])


@pytest.mark.parametrize(
    ("shape", "loops"),
    [
        ([None, 40, 1], False),
        ([3, 40, _forms.FEW_FEATURES], False),
        ([3, 40, _forms.FEW_FEATURES + 1], True),
        ([3, None, 1], True),
    ],
)
def test_the_rule(shape, loops):
    """Few features and a known length need no loop; all else, and a form that is given, does."""
    features = shape[2]
    *_, b, c, d, _, _ = problem(2, features)
    others = arguments(np.zeros([B, 2, features]), *problem(2, features)[1:3], b, c, d)[3:]

    def operations(form):
        def call(x):
            state = tf.zeros([tf.shape(x)[0], N], tf.float64)
            return lru_last(x, state, state, *others, form=form)

        spec = [tf.TensorSpec(shape, tf.float64)]
        graph = tf.function(call, input_signature=spec, autograph=False).get_concrete_function()
        graph = graph.graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        return {node.op for node in nodes}

    assert ({"While", "StatelessWhile"} & operations("auto") != set()) == loops
    assert {"While", "StatelessWhile"} & operations("adjoint")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "xla"}, "`form` must be one of 'auto', 'adjoint', 'plain'.*'xla'"),
        ({"form": "powers"}, r"`form` must be .*form='powers', inputs of \(3, 0, 2\)"),
        ({"mask": np.ones([B, 4], bool)}, r"`mask` must have the shape \[3, 0\]"),
    ],
)
def test_wrong_arguments(options, message):
    given = arguments(*problem(0)[:6])
    with pytest.raises(ValueError, match=message):
        lru_last(*given, **options)
