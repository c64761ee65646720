"""LRU against complex NumPy, its bound, and its life as a Keras layer."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers import LRU, _eigenvalues
from rnnzoo.layers.lru import LRUCell
from rnnzoo.recurrences import SecondDerivativeError
from tests.references import lru as reference

PARAMETRIZATIONS = ("exponential", "polar", "tanh", "cartesian")
MASK = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]], bool)
EVERYTHING = {"return_sequences": True, "return_state": True}


def built(units=5, features=3, state_size=4, batch=None, **options):
    options = {"r_min": 0.3, "r_max": 0.95, "seed": 3, "dtype": "float64", **options}
    layer = LRU(units, state_size=state_size, **options)
    layer.build([batch, None, features])
    return layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def weight(layer, name):
    return {w.name: w for w in layer.weights}[name].numpy()


def numpy_twin(layer):
    """(eigenvalues, gamma, b, c, d) of a layer and how their gradients reach its weights."""
    names = _eigenvalues.PARAMETRIZATIONS[layer.cell.parametrization].names
    formula = reference.PARAMETRIZATIONS[layer.cell.parametrization]
    eigenvalues, back = formula(*(weight(layer, name) for name in names))
    b = weight(layer, "B_re") + 1j * weight(layer, "B_im")
    c = weight(layer, "C_re") + 1j * weight(layer, "C_im")
    d = weight(layer, "D")
    normalization = layer.cell.normalization
    gamma = np.ones(len(eigenvalues))
    if normalization == "learned":
        gamma = np.exp(weight(layer, "gamma_log"))
    elif normalization == "fixed":
        gamma = np.sqrt(1 - np.abs(eigenvalues) ** 2)

    def gradients(dl, dgamma, db, dc, dd):
        if normalization == "fixed":
            dl = dl - dgamma * eigenvalues / gamma
        found = dict(zip(names, back(dl)))
        if normalization == "learned":
            found["gamma_log"] = dgamma * gamma
        found.update(B_re=db.real, B_im=db.imag, C_re=dc.real, C_im=dc.imag)
        found["D"] = np.diag(dd) if d.ndim == 1 else dd
        return [found[w.name] for w in layer.trainable_weights]

    return (eigenvalues, gamma, b, c, np.diag(d) if d.ndim == 1 else d), gradients


@pytest.mark.parametrize(
    ("parametrization", "normalization", "units", "training"),
    [
        ("exponential", "learned", 5, True),
        ("exponential", "learned", 3, False),
        ("polar", None, 5, True),
        ("tanh", "fixed", 3, True),
        ("tanh", "learned", 5, False),
        ("cartesian", "fixed", 5, True),
        ("polar", "fixed", 3, True),
        ("exponential", "fixed", 3, True),
    ],
)
def test_values_and_every_gradient_equal_numpy(parametrization, normalization, units, training):
    layer = built(units, parametrization=parametrization, normalization=normalization, **EVERYTHING)
    x, state = normal(3, 6, 3), normal(2, 3, 4, seed=1)
    upstream, final = normal(3, 6, units, seed=2), normal(2, 3, 4, seed=4)
    matrices, weight_gradients = numpy_twin(layer)
    arguments = (x, state[0] + 1j * state[1], *matrices, MASK)
    y, last, _ = reference.lru(*arguments)
    dx, dh, *rest = reference.lru_gradients(*arguments, upstream, final[0] + 1j * final[1])

    given = [tf.constant(x), *(tf.constant(s) for s in state)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        results = layer(given[0], initial_state=given[1:], mask=MASK, training=training)
        loss = tf.add_n([tf.reduce_sum(r * w) for r, w in zip(results, [upstream, *final])])
    gradients = tape.gradient(loss, [*given, *layer.trainable_weights])
    for got, want in zip(results, [y, last.real, last.imag]):
        np.testing.assert_allclose(got, want, atol=1e-12)
    for got, want in zip(gradients, [dx, dh.real, dh.imag, *weight_gradients(*rest)]):
        np.testing.assert_allclose(got, want, atol=1e-11)


@pytest.mark.parametrize("t", [1, 30, 10_000])
def test_every_length_equals_numpy(t):
    layer = built(return_sequences=True, r_min=0.999, r_max=0.9999)
    (eigenvalues, gamma, b, c, d), _ = numpy_twin(layer)
    x = normal(2, t, 3)
    wanted = reference.lru(x, np.zeros([2, 4]), eigenvalues, gamma, b, c, d, np.ones([2, t], bool))[
        0
    ]
    for training in (True, False):
        np.testing.assert_allclose(layer(x, training=training), wanted, atol=1e-9)
    single = LRU.from_config({**layer.get_config(), "dtype": "float32"})
    single.build([None, None, 3])
    single.set_weights(layer.get_weights())
    # lambda is rounded to float32 there, which |lambda| = 0.9999 amplifies to 1e4 roundings.
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(single(x.astype("float32")), wanted, atol=3e-3 * scale)


def test_weights_are_those_of_the_published_code():
    layer = built(units=3)
    shapes = {w.name: tuple(w.shape) for w in layer.weights}
    assert shapes == {
        "nu_log": (4,),
        "theta_log": (4,),
        "gamma_log": (4,),
        "B_re": (4, 3),
        "B_im": (4, 3),
        "C_re": (3, 4),
        "C_im": (3, 4),
        "D": (3,),
    }
    assert tuple(built(units=5).cell.D.shape) == (5, 3)
    assert not hasattr(built(normalization="fixed").cell, "gamma_log")
    assert LRU(7).cell.n == 7
    for parametrization in PARAMETRIZATIONS:
        layer = built(parametrization=parametrization)
        (eigenvalues, gamma, *_), _ = numpy_twin(layer)
        found = layer.eigenvalues()
        assert found.dtype == np.complex128
        np.testing.assert_allclose(found, eigenvalues, rtol=1e-12)
        np.testing.assert_allclose(gamma, np.sqrt(1 - np.abs(found) ** 2), rtol=1e-9)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_the_first_eigenvalues_fill_the_ring_evenly(parametrization):
    layer = built(
        state_size=4000,
        parametrization=parametrization,
        r_min=0.6,
        r_max=0.9,
        max_phase=1.5,
        dtype="float32",
    )
    found = layer.eigenvalues()
    u = (np.abs(found) ** 2 - 0.6**2) / (0.9**2 - 0.6**2)
    for sample in (u, np.angle(found) / 1.5):
        assert sample.min() > -1e-5
        assert sample.max() < 1 + 1e-5
        # Kolmogorov's distance; for 4000 uniform draws it exceeds 0.03 once in 700 times.
        order = np.sort(sample)
        assert np.abs(order - np.arange(4000) / 4000).max() < 0.03
    for name, variance in [("B_re", 1 / 6), ("B_im", 1 / 6), ("C_re", 1 / 4000), ("D", 1 / 3)]:
        values = weight(layer, name)
        error = 5 * variance * np.sqrt(2 / values.size)
        np.testing.assert_allclose(np.mean(values**2), variance, atol=error)


def test_a_seed_decides_every_draw():
    a, b, c = (built(seed=seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(u, v) for u, v in zip(a, b))
    assert not any(np.array_equal(u, v) for u, v in zip(a, c))
    # No two draws of one seed are the same stream.
    assert not np.allclose(built(features=4).cell.B_re, built(features=4).cell.B_im)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_eigenvalues_stay_inside_the_circle_at_build_and_after_any_step(parametrization, dtype):
    layer = built(
        parametrization=parametrization, r_min=0.5, r_max=1.0, state_size=300, dtype=dtype
    )
    low = 1e-9 if parametrization == "tanh" else 0.0
    edge = built(
        parametrization=parametrization, r_min=1 - 1e-12, r_max=1.0, state_size=50, dtype=dtype
    )
    center = built(parametrization=parametrization, r_min=low, r_max=1e-6, dtype=dtype)
    for fresh in (layer, edge, center):
        assert fresh.contraction() < 1
        assert np.abs(fresh.eigenvalues()).max() <= fresh.contraction()
    weights = layer.cell.eigenvalue_weights()
    rng = np.random.default_rng(0)
    optimizer = keras.optimizers.SGD(1.0)
    x = normal(1, 20, 3).astype("float32")
    for size in (1e-3, 1.0, 30.0, 1e4):
        steps = [tf.cast(size * rng.normal(size=w.shape), w.dtype) for w in weights]
        optimizer.apply(steps, weights)
        assert np.abs(layer.eigenvalues()).max() < 1
        assert layer.contraction() < 1
        if dtype in ("float16", "bfloat16"):
            continue  # a right gradient may be beyond their range
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True))
        for gradient in tape.gradient(loss, weights):
            assert np.isfinite(np.asarray(gradient, np.float64)).all()


def test_constraints_are_projections_and_hide_nothing_that_is_not_finite():
    disc = _eigenvalues.Disc(0.5)
    w = np.array([[3.0, 0.1, 0.0, 1e30], [4.0, 0.2, -2.0, 0.0]], "float32")
    inside = np.array([[0.3, 0.1, 0.0, 0.5], [0.4, 0.2, -0.5, 0.0]], "float32")
    np.testing.assert_allclose(disc(w), inside, rtol=1e-6)
    np.testing.assert_array_equal(disc(disc(w)), disc(w))
    interval = _eigenvalues.Interval(-1, 2)
    np.testing.assert_array_equal(interval([-3.0, 0.5, 5.0]), [-1.0, 0.5, 2.0])
    assert not np.isfinite(interval([np.nan, np.inf])).any()
    assert np.isnan(disc(np.array([[np.nan], [0.0]]))[0]).all()


def test_contraction_bounds_trajectories_and_tells_the_truth_about_given_weights():
    for parametrization in PARAMETRIZATIONS:
        layer = built(parametrization=parametrization, dtype="float32", **EVERYTHING)
        bound = layer.contraction()
        assert bound <= np.abs(layer.eigenvalues()).max() * (1 + 2e-6)
        x, states = normal(50, 1, 3).astype("float32"), normal(4, 50, 4).astype("float32")
        a = np.concatenate(layer(x, initial_state=[states[0], states[1]])[1:], 1)
        b = np.concatenate(layer(x, initial_state=[states[2], states[3]])[1:], 1)
        before = np.linalg.norm(
            np.concatenate([states[0] - states[2], states[1] - states[3]], 1), axis=1
        )
        ratio = np.linalg.norm(a - b, axis=1) / before
        assert ratio.max() <= bound * (1 + 1e-6)
    layer = built(dtype="float32")
    layer.cell.nu_log.assign(np.full(4, -100.0))
    assert layer.contraction() >= 1
    assert layer.contraction(input_bound=2.0) == layer.contraction()
    with pytest.raises(ValueError, match="`input_bound` must be a number in"):
        layer.contraction(input_bound=-1.0)
    with pytest.raises(ValueError, match="must be built before"):
        LRU(3, name="fresh").eigenvalues()


def test_tanh_with_fixed_normalization_has_unit_curvature_at_every_eigenvalue():
    """The loss of one normalised eigenvalue against another is 1 - gamma gamma* Re 1/(1 - l l*)."""
    for modulus, phase in [(0.5, 0.3), (0.9, 2.0), (0.99, 1.0)]:
        optimum = tf.constant(np.array(_eigenvalues.Tanh.encode(modulus, phase)))

        def loss(point, optimum=optimum):
            a_re, a_im, a_rest = _eigenvalues.Tanh.decode(tf.math, point[0], point[1])
            b_re, b_im, b_rest = _eigenvalues.Tanh.decode(tf.math, optimum[0], optimum[1])
            re, im = 1 - (a_re * b_re + a_im * b_im), a_im * b_re - a_re * b_im
            return 1 - tf.sqrt(a_rest * b_rest) * re / (re * re + im * im)

        with tf.GradientTape() as outer:
            outer.watch(optimum)
            with tf.GradientTape() as inner:
                inner.watch(optimum)
                value = loss(optimum, tf.stop_gradient(optimum))
            gradient = inner.gradient(value, optimum)
        hessian = outer.jacobian(gradient, optimum)
        np.testing.assert_allclose(gradient, [0, 0], atol=1e-12)
        # omega_nu moves the angle as well, a shear: it leaves the determinant as it is.
        np.testing.assert_allclose(np.linalg.det(hessian), 1.0, rtol=1e-8)
        np.testing.assert_allclose(hessian[1, 1], 1.0, rtol=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        {"return_sequences": True, "return_state": True},
        {"return_state": True, "go_backwards": True},
        {"return_sequences": True, "zero_output_for_mask": True},
        {},
    ],
)
@pytest.mark.parametrize("mask", [None, MASK])
def test_equals_keras_over_the_same_cell(options, mask):
    layer = built(**options)
    theirs = keras.layers.RNN(layer.cell, dtype="float64", **options)
    x, state = normal(3, 6, 3), list(normal(2, 3, 4, seed=1))
    for call in ({}, {"initial_state": state}):
        wanted = theirs(x, mask=mask, **call)
        for training in (True, False):
            got = layer(x, mask=mask, training=training, **call)
            for g, w in zip(tf.nest.flatten(got), tf.nest.flatten(wanted)):
                np.testing.assert_allclose(g, w, atol=1e-12)


def test_two_chunks_equal_one_pass_carried_and_stateful():
    layer = built(**EVERYTHING)
    x, mask = normal(3, 6, 3), MASK
    whole, *last = layer(x, mask=mask)
    first, *state = layer(x[:, :4], mask=mask[:, :4])
    second, *end = layer(x[:, 4:], mask=mask[:, 4:], initial_state=state)
    # Until a chunk's first real step its outputs are zero, as Keras has it.
    seen = np.cumsum(mask[:, 4:], 1) > 0
    np.testing.assert_allclose(first, whole[:, :4], atol=1e-12)
    np.testing.assert_allclose(second, np.where(seen[..., None], whole[:, 4:], 0), atol=1e-12)
    np.testing.assert_allclose(end, last, atol=1e-12)

    stateful = LRU.from_config({**layer.get_config(), "stateful": True})
    stateful.build([3, None, 3])
    stateful.set_weights(layer.get_weights())
    stateful(x[:, :4], mask=mask[:, :4])
    np.testing.assert_allclose(stateful(x[:, 4:], mask=mask[:, 4:])[1:], last, atol=1e-12)
    stateful.reset_state()
    np.testing.assert_allclose(stateful(x, mask=mask)[1:], last, atol=1e-12)
    with pytest.raises(ValueError, match="must stay 3, as at build"):
        stateful(x[:2])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_weights_and_state_in_float32(policy):
    layer = built(dtype=policy, stateful=True, batch=2, **EVERYTHING)
    exact = built(dtype="float32", stateful=True, batch=2, **EVERYTHING)
    assert {w.dtype for w in layer.weights} == {"float32"}
    half = tf.as_dtype(layer.compute_dtype)
    x = tf.cast(normal(2, 9, 3), half)
    with tf.GradientTape() as tape:
        y, *state = layer(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, "float32") ** 2)
    assert [y.dtype, *(s.dtype for s in state)] == [half, tf.float32, tf.float32]
    wanted, *exact_state = exact(tf.cast(x, "float32"), training=True)
    np.testing.assert_array_equal(state, exact_state)
    np.testing.assert_array_equal(y, tf.cast(wanted, half))
    assert all(g.dtype == tf.float32 for g in tape.gradient(loss, layer.trainable_weights))
    # The carried state, too: neither Keras's casts nor a variable's autocast may round it.
    np.testing.assert_array_equal(layer(x)[1:], exact(tf.cast(x, "float32"))[1:])
    given = layer(x, initial_state=state)[1:]
    np.testing.assert_array_equal(given, exact(tf.cast(x, "float32"), initial_state=state)[1:])
    symbolic = layer(keras.KerasTensor([2, 9, 3], dtype=half.name))
    assert [s.dtype for s in symbolic] == [half.name, "float32", "float32"]
    outputs, states = layer.cell(x[:, 0], layer.get_initial_state(2))
    assert [outputs.dtype, states[0].dtype] == [half, tf.float32]


def small_model(**options):
    model = keras.Sequential(
        [
            keras.Input([None, 3]),
            keras.layers.Masking(),
            LRU(4, return_sequences=True, seed=1, **options),
            keras.layers.Bidirectional(LRU(3, state_size=5, seed=2, **options)),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", jit_compile=False)
    return model


def test_stacked_and_bidirectional_models_learn_and_come_back_from_a_file(tmp_path):
    model = small_model(r_min=0.5, parametrization="tanh")
    x = normal(8, 12, 3).astype("float32")
    x[2, 7:] = 0
    y = x.sum((1, 2))[:, None] / 6
    history = model.fit(x, y, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.layers[1].get_config() == model.layers[1].get_config()


def test_bidirectional_hands_on_states():
    layer = keras.layers.Bidirectional(built(**EVERYTHING), dtype="float64")
    x = normal(2, 7, 3)
    y, *states = layer(x)
    assert len(states) == 4
    again, *_ = layer(x, initial_state=[tf.zeros([2, 4], tf.float64)] * 4)
    np.testing.assert_allclose(again, y, atol=1e-14)
    flipped = layer.backward_layer(x)[0][:, ::-1]
    np.testing.assert_allclose(y, np.concatenate([layer.forward_layer(x)[0], flipped], -1))


def test_exports_with_dynamic_batch_and_time(tmp_path):
    model = small_model(r_max=0.9)
    model.export(str(tmp_path / "served"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    for b, t in [(1, 1), (5, 40)]:
        x = normal(b, t, 3).astype("float32")
        np.testing.assert_allclose(served.serve(x), model(x), atol=1e-6)


def test_compiled_with_xla_a_training_step_is_the_same():
    layer = built(return_sequences=True)
    x = tf.constant(normal(2, 9, 3))

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(layer(x, training=True)))
        return loss, tape.gradient(loss, layer.trainable_weights)

    compiled = tf.function(gradients, jit_compile=True, autograph=False)()
    for got, want in zip(tf.nest.flatten(compiled), tf.nest.flatten(gradients())):
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_can_be_built_while_its_first_call_is_traced():
    layer = LRU(3, seed=5)
    x = tf.constant(normal(2, 4, 3).astype("float32"))
    traced = tf.function(layer, autograph=False)(x)
    np.testing.assert_allclose(traced, layer(x), atol=1e-6)


def test_the_configuration_holds_every_argument():
    options = {
        "units": 3,
        "state_size": 6,
        "parametrization": "tanh",
        "normalization": None,
        "r_min": 0.2,
        "r_max": 0.9,
        "max_phase": 1.0,
        "seed": 7,
        "form": "autodiff",
        "return_sequences": True,
        "return_state": True,
        "go_backwards": True,
        "zero_output_for_mask": True,
        "name": "mine",
    }
    config = LRU(**options).get_config()
    assert {k: config[k] for k in options} == options
    assert set(inspect.signature(LRU).parameters) - {"kwargs"} <= set(config)
    assert LRU.from_config(config).get_config() == config
    cell = LRUCell(3, state_size=6, seed=1)
    assert LRUCell.from_config(cell.get_config()).get_config() == cell.get_config()
    assert LRU(3).get_config()["state_size"] is None


def test_second_derivatives_are_refused_or_right():
    x = tf.constant(normal(2, 5, 3))

    def hessian_diagonal(form):
        layer = built(form=form)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(layer(x, training=True) ** 2)
            gradient = inner.gradient(loss, layer.cell.nu_log.value)
            first = gradient[0]
        return outer.gradient(first, layer.cell.nu_log.value)[0], gradient[0]

    with pytest.raises(SecondDerivativeError, match='form="autodiff"'):
        hessian_diagonal("auto")

    def slope(shift):
        layer = built()
        layer.cell.nu_log.assign_add([shift, 0, 0, 0])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True) ** 2)
        return tape.gradient(loss, layer.cell.nu_log.value)[0]

    numeric = (slope(1e-5) - slope(-1e-5)) / 2e-5
    np.testing.assert_allclose(hessian_diagonal("autodiff")[0], numeric, rtol=1e-7)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"units": 0}, ValueError, "`units` must be an integer of at least 1.*units=0"),
        ({"units": 2.5}, TypeError, "`units` must be an integer"),
        ({"state_size": -1}, ValueError, "`state_size` must be .*at least 1.*state_size=-1"),
        ({"state_size": "4"}, TypeError, "`state_size` must be an integer"),
        ({"parametrization": "exp"}, ValueError, "`parametrization` must be one of 'exponential'"),
        ({"normalization": "l2"}, ValueError, "`normalization` must be one of 'learned', 'fixed'"),
        ({"r_min": 1.0}, ValueError, r"`r_min` must be a number in \[0, 1\).*r_min=1.0"),
        ({"r_min": -0.1}, ValueError, "`r_min` must be a number"),
        ({"r_min": 0.8, "r_max": 0.7}, ValueError, r"`r_min` must be a number in \[0, 0.7\]"),
        ({"r_max": 1.5}, ValueError, r"`r_max` must be a number in \(0, 1\]"),
        ({"r_max": "1"}, TypeError, "`r_max` must be a number"),
        ({"max_phase": 7}, ValueError, "`max_phase` must be a number in"),
        ({"max_phase": 0}, ValueError, "`max_phase` must be a number in"),
        ({"parametrization": "tanh"}, ValueError, "`r_min` must be positive with .*'tanh'"),
        ({"seed": -2}, ValueError, "`seed` must be an integer of at least 0"),
        ({"form": "best"}, ValueError, "`form` must be one of"),
        ({"unroll": True}, ValueError, "`unroll` must be False"),
        ({"return_sequences": 1}, TypeError, "`return_sequences` must be True or False"),
        ({"activation": "tanh"}, ValueError, "Unrecognized keyword arguments.*activation"),
    ],
)
def test_wrong_arguments(wrong, error, message):
    with pytest.raises(error, match=message):
        LRU(**{"units": 3, **wrong})


def test_wrong_calls():
    layer = built(name="mine")
    with pytest.raises(ValueError, match=r"`sequences` of mine must have the shape"):
        layer(normal(2, 3))
    with pytest.raises(ValueError, match=r"`mask` of mine must have the shape"):
        layer(normal(2, 3, 3), mask=np.ones([2, 4], bool))
    with pytest.raises(ValueError, match=r"`initial_state` of mine must be 2 tensor"):
        layer(normal(2, 3, 3), initial_state=[normal(2, 4)])
    with pytest.raises(ValueError, match=r"`initial_state` of mine must be 2 tensor"):
        layer(normal(2, 3, 3), initial_state=[normal(2, 4), normal(2, 5)])
    with pytest.raises(ValueError, match="last axis of the inputs"):
        LRU(3).build([None, None, None])
