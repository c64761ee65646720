"""The diagonal recurrence and the one between projections against complex NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.recurrences import SecondDerivativeError
from rnnzoo.recurrences.diagonal import diagonal, lru
from tests.references import lru as reference

LENGTHS = {"eager": [1, 2, 3, 8, 50, 400], "graph": [1, 50], "xla": [23]}
LENGTHS_OF_XLA = [1, 33, 700]  # every one is compiled: a tail, a block and a tail, a chunk and more


def problem(b, t, n, seed=0, low=0.3):
    """z, initial and eigenvalues, complex."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    eigenvalues = rng.uniform(low, 1, n) * np.exp(1j * rng.uniform(0, 2 * np.pi, n))
    return draw(b, t, n), draw(b, n), eigenvalues


def parts(*values, dtype="float64"):
    return [tf.constant(f(v), dtype) for v in values for f in (np.real, np.imag)]


def masks(b, t):
    rng = np.random.default_rng(3)
    mask = rng.random((b, t)) < 0.6
    mask[0] = False
    return mask


def run(arguments, mask, form, weights):
    """Outputs of `diagonal` and gradients of a weighted sum of them."""
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        results = diagonal(*arguments, mask=mask, form=form)
        loss = tf.add_n([tf.reduce_sum(r * w) for r, w in zip(results, weights)])
    return results, tape.gradient(loss, arguments, unconnected_gradients="zero")


WAYS = {
    "eager": run,
    "graph": tf.function(run, autograph=False),
    "xla": tf.function(run, jit_compile=True, autograph=False),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["xla", "adjoint", "autodiff"])
def test_values_and_gradients_equal_numpy(way, form, masked):
    lengths = LENGTHS_OF_XLA if form == "xla" and way == "graph" else LENGTHS[way]
    for t in lengths[:3] if form == "xla" else lengths:
        rows = 3 if t < 33 else 4  # unequal shards and equal ones, which are compiled once
        z, initial, eigenvalues = problem(rows, t, 4)
        mask = masks(rows, t) if masked else None
        upstream, final, _ = problem(rows, t, 4, seed=1)
        found, last = reference.states(z, initial, eigenvalues, mask)
        wanted = reference.states_gradients(upstream, final, found, initial, eigenvalues, mask)
        weights = parts(upstream, final)
        results, gradients = WAYS[way](
            parts(z, initial, eigenvalues),
            None if mask is None else tf.constant(mask),
            form,
            weights,
        )
        for got, want in zip(results, parts(found, last)):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)
        for got, want in zip(gradients, parts(*wanted)):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", ["adjoint", "autodiff"])
def test_one_graph_serves_every_batch_and_length(form):
    pair = [tf.TensorSpec([None, None, 2], tf.float64)] * 2
    state = [tf.TensorSpec([None, 2], tf.float64)] * 2
    eigenvalue = [tf.TensorSpec([2], tf.float64)] * 2
    mask = tf.TensorSpec([None, None], tf.bool)
    traced = tf.function(
        lambda arguments, mask: diagonal(*arguments, mask=mask, form=form),
        input_signature=[pair + state + eigenvalue, mask],
    )
    for b, t in [(1, 1), (3, 17), (5, 120), (2, 0), (0, 4)]:
        z, initial, eigenvalues = problem(b, t, 2)
        mask = masks(b + 1, t)[1:]
        results = traced(parts(z, initial, eigenvalues), tf.constant(mask))
        wanted = reference.states(z, initial, eigenvalues, mask)
        for got, want in zip(results, parts(*wanted)):
            np.testing.assert_allclose(got, want, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["xla", "adjoint"])
def test_ten_thousand_steps_and_more(form):
    for t, tolerance in [(10_000, 1e-9), (65_536, 1e-8)]:
        z, initial, eigenvalues = problem(1, t, 2, low=0.999)
        found, last = reference.states(z, initial, eigenvalues)
        upstream, final, _ = problem(1, t, 2, seed=1)
        wanted = reference.states_gradients(upstream, final, found, initial, eigenvalues)
        results, gradients = WAYS["graph"](
            parts(z, initial, eigenvalues), None, form, parts(upstream, final)
        )
        pairs = [*zip(results, parts(found, last)), *zip(gradients, parts(*wanted))]
        for got, want in pairs:
            np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max())


def test_float32_stays_close_over_ten_thousand_steps():
    z, initial, eigenvalues = problem(1, 10_000, 3, low=0.99)
    eigenvalues = eigenvalues.astype(np.complex64).astype(complex)
    found, _ = reference.states(z, initial, eigenvalues)
    re, im, *_ = diagonal(*parts(z, initial, eigenvalues, dtype="float32"))
    assert re.dtype == tf.float32
    np.testing.assert_allclose(re.numpy() + 1j * im.numpy(), found, atol=3e-5 * np.abs(found).max())


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_two_chunks_equal_one_pass_and_so_do_their_gradients(cut):
    arguments = parts(*problem(2, 61, 3))
    z, rest = arguments[:2], arguments[2:]
    mask = tf.constant(masks(2, 61))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arguments)
        whole = diagonal(*arguments, mask=mask)
        first = diagonal(*(v[:, :cut] for v in z), *rest, mask=mask[:, :cut])
        second = diagonal(*(v[:, cut:] for v in z), *first[2:], *rest[2:], mask=mask[:, cut:])
        joined = [tf.concat([a, b], 1) for a, b in zip(first[:2], second[:2])]
        losses = [
            tf.add_n([tf.reduce_sum(tf.sin(v)) for v in results])
            for results in (whole, [*joined, *second[2:]])
        ]
    for a, b in zip(whole, [*joined, *second[2:]]):
        np.testing.assert_allclose(a, b, atol=1e-12)
    for a, b in zip(*(tape.gradient(loss, arguments) for loss in losses)):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_zero_eigenvalues_and_zero_steps():
    z = np.arange(12.0).reshape(1, 6, 2) * (1 + 2j)
    initial, zeros = np.ones([1, 2], complex), np.zeros(2, complex)
    for form in ("xla", "adjoint", "autodiff"):
        re, im, *_ = diagonal(*parts(z, initial, zeros), form=form)
        np.testing.assert_array_equal(re.numpy() + 1j * im.numpy(), z)
        _, gradients = run(parts(z, initial, zeros), None, form, parts(z, initial))
        assert all(np.isfinite(g).all() for g in gradients)
        empty = parts(z[:, :0], initial, zeros)
        if form == "xla":
            with pytest.raises(ValueError, match="number of time steps is 0"):
                diagonal(*empty, form=form)
            continue
        results, gradients = run(empty, None, form, parts(z[:, :0], 3 * initial))
        np.testing.assert_array_equal(results[2], initial.real)
        np.testing.assert_array_equal(gradients[2], 3 * initial.real)


def test_what_stands_at_masked_steps_reaches_nothing():
    z, initial, eigenvalues = problem(2, 20, 3)
    mask = masks(2, 20)
    weights = parts(*problem(2, 20, 3, seed=1)[:2])
    clean = run(parts(z, initial, eigenvalues), tf.constant(mask), "adjoint", weights)
    z[~mask] = np.nan
    for form in ("xla", "adjoint", "autodiff"):
        dirty = run(parts(z, initial, eigenvalues), tf.constant(mask), form, weights)
        for a, b in zip(tf.nest.flatten(clean), tf.nest.flatten(dirty)):
            np.testing.assert_allclose(a, b, atol=1e-10)


def projected(seed=0, skip="matrix", t=30):
    rng = np.random.default_rng(seed)
    _, initial, eigenvalues = problem(3, t, 4, seed=seed)
    d = {"matrix": (3, 5), "vector": (3,), None: None}[skip]
    units = 3 if skip == "vector" else 5
    arguments = parts(initial, eigenvalues)
    shapes = [(3, 8), (8, units)] + ([d] if d else [])
    more = [tf.constant(rng.normal(size=s)) for s in shapes]
    return [tf.constant(rng.normal(size=[3, t, 3])), *arguments, *more]


@pytest.mark.parametrize(
    ("skip", "form", "jit"),
    [
        ("matrix", "adjoint", False),
        ("vector", "adjoint", False),
        ("vector", "autodiff", False),
        (None, "adjoint", True),
        ("matrix", "autodiff", True),
    ],
)
def test_projections_equal_numpy(skip, form, jit):
    arguments = projected(skip=skip)
    mask = masks(3, 30)
    units = arguments[6].shape[1]
    upstream, final, _ = problem(3, 30, units, seed=1)[0].real, *problem(3, 30, 4, seed=2)[1:]
    weights = [tf.constant(upstream), *parts(final)]

    @tf.function(jit_compile=jit, autograph=False)
    def compute():
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            results = lru(*arguments, mask=tf.constant(mask), form=form)
            loss = tf.add_n([tf.reduce_sum(r * w) for r, w in zip(results, weights)])
        return results, tape.gradient(loss, arguments)

    x, hr, hi, lr, li, b, c, *d = (v.numpy() for v in arguments)
    d = np.zeros([units, 3]) if not d else np.diag(d[0]) if skip == "vector" else d[0].T
    given = (x, hr + 1j * hi, lr + 1j * li, np.ones(4))
    matrices = ((b[:, :4] + 1j * b[:, 4:]).T, (c[:4] - 1j * c[4:]).T, d, mask)
    y, last, _ = reference.lru(*given, *matrices)
    dx, dh, dl, _, db, dc, dd = reference.lru_gradients(*given, *matrices, upstream, final)
    results, gradients = compute()
    for got, want in zip(results, [y, last.real, last.imag]):
        np.testing.assert_allclose(got, want, atol=1e-11)
    db = np.concatenate([db.real.T, db.imag.T], 1)
    dc = np.concatenate([dc.real.T, -dc.imag.T], 0)
    wanted = [dx, dh.real, dh.imag, dl.real, dl.imag, db, dc]
    wanted += {"matrix": [dd.T], "vector": [np.diag(dd)], None: []}[skip]
    assert len(wanted) == len(gradients)
    for got, want in zip(gradients, wanted):
        np.testing.assert_allclose(got, want, atol=1e-10)


def second_derivative(form, way):
    """d2/dlambda2 of the last state for real lambda = 0.9, h_0 = 1, z = 1 and T = 12."""
    one, zero = tf.ones([1, 12, 1], tf.float64), tf.zeros([1, 12, 1], tf.float64)
    state, nothing = tf.ones([1, 1], tf.float64), tf.zeros([1, 1], tf.float64)

    def compute(value):
        with tf.GradientTape() as outer:
            outer.watch(value)
            with tf.GradientTape() as inner:
                inner.watch(value)
                last = diagonal(one, zero, state, nothing, value, 0 * value, form=form)[2]
            first = inner.gradient(last, value)
        return outer.gradient(first, value)

    if way == "graph":
        compute = tf.function(compute, autograph=False)
    return compute(tf.constant([0.9], tf.float64))


@pytest.mark.parametrize("way", ["eager", "graph"])
def test_second_derivatives_are_right_or_refused(way):
    powers = np.arange(13)
    exact = (powers * (powers - 1) * 0.9 ** np.maximum(powers - 2, 0)).sum()
    np.testing.assert_allclose(second_derivative("autodiff", way), [exact], rtol=1e-12)
    for form in ("auto", "xla", "adjoint"):
        with pytest.raises(SecondDerivativeError, match='form="plain"'):
            second_derivative(form, way)


def test_form_xla_needs_to_know_only_the_length():
    def traced(time):
        pair = [tf.TensorSpec([None, time, 2], tf.float64)] * 2
        state = [tf.TensorSpec([None, 2], tf.float64)] * 2
        eigenvalue = [tf.TensorSpec([2], tf.float64)] * 2
        function = tf.function(run, autograph=False)
        return function.get_concrete_function(pair + state + eigenvalue, None, "xla", pair + state)

    with pytest.raises(ValueError, match=r"`form` must be .* not known .*\(None, None, 2\)"):
        traced(None)
    function = traced(35)
    for rows in (1, 3):
        z, initial, eigenvalues = problem(rows, 35, 2)
        upstream, final, _ = problem(rows, 35, 2, seed=1)
        found, last = reference.states(z, initial, eigenvalues)
        wanted = reference.states_gradients(upstream, final, found, initial, eigenvalues)
        given = parts(z, initial, eigenvalues), parts(upstream, final)
        results, gradients = function(*tf.nest.flatten(given))
        pairs = [*zip(results, parts(found, last)), *zip(gradients, parts(*wanted))]
        for got, want in pairs:
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


GOOD = {
    "inputs": np.zeros([2, 5, 3]),
    "initial_re": np.zeros([2, 4]),
    "initial_im": np.zeros([2, 4]),
    "lambda_re": np.zeros([4]),
    "lambda_im": np.zeros([4]),
    "b": np.zeros([3, 8]),
    "c": np.zeros([8, 6]),
    "d": np.zeros([3, 6]),
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"inputs": np.zeros([2, 5])}, r"`inputs` must have the shape \[batch, time, features\]"),
        ({"inputs": np.zeros([2, 5, 3], int)}, "`inputs` must be float32 or float64.*int64"),
        ({"inputs": np.zeros([2, 5, 3], "float16")}, "`inputs` must be float32 or float64"),
        ({"initial_re": np.zeros([1, 4])}, r"`initial_re` must have the shape \[2, 4\].*\(1, 4\)"),
        ({"initial_im": np.zeros([2, 3])}, r"`initial_im` must have the shape \[2, 4\]"),
        ({"lambda_re": np.zeros([4, 1])}, "`lambda_re` must have the shape"),
        ({"lambda_im": np.zeros([3])}, r"`lambda_im` must have the shape \[4\]"),
        ({"b": np.zeros([3, 4])}, r"`b` must have the shape \[3, 8\].*\(3, 4\)"),
        ({"c": np.zeros([4, 6])}, "`c` must have the shape"),
        ({"d": np.zeros([6])}, r"`d` must have the shape \[3\]"),
        ({"d": np.zeros([6, 3])}, r"`d` must have the shape \[3, 6\]"),
        ({"mask": np.ones([2, 4], bool)}, r"`mask` must have the shape \[2, 5\]"),
        ({"mask": np.ones([2, 5])}, "`mask` must be bool.*float64"),
        ({"form": "xla"}, "`form` must be one of 'auto', 'adjoint', 'plain'.*'xla'"),
    ],
)
def test_wrong_arguments(wrong, message):
    lru(**GOOD)
    with pytest.raises(ValueError, match=message):
        lru(**{**GOOD, **wrong})


def test_wrong_arguments_of_the_bare_recurrence():
    z, state, eigenvalues = np.zeros([2, 5, 4]), np.zeros([2, 4]), np.zeros([4])
    with pytest.raises(ValueError, match=r"`inputs_im` must have the shape \[2, 5, 4\]"):
        diagonal(z, z[:, :4], state, state, eigenvalues, eigenvalues)
    with pytest.raises(ValueError, match=r"`inputs_re` must have the shape \[None, None, 4\]"):
        diagonal(z[..., :3], z[..., :3], state, state, eigenvalues, eigenvalues)
