"""LRU against complex NumPy, against its own cell, and in pieces."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers import LRU, _eigenvalues
from rnnzoo.recurrences import SecondDerivativeError
from tests.references import lru as reference
from tests.references.lru_layers import EVERYTHING, MASK, PARAMETRIZATIONS, built, normal, weight


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


@pytest.mark.parametrize(
    "options",
    [
        {"return_sequences": True, "return_state": True},
        {"return_state": True, "go_backwards": True},
        {"return_sequences": True, "zero_output_for_mask": True},
        {"zero_output_for_mask": True},
        {},
    ],
)
@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("form", ["auto", "adjoint"])
def test_equals_keras_over_the_same_cell(options, mask, form):
    layer = built(form=form, **options)
    theirs = keras.layers.RNN(layer.cell, dtype="float64", **options)
    x, state = normal(3, 6, 3), list(normal(2, 3, 4, seed=1))
    for call in ({}, {"initial_state": state}):
        wanted = theirs(x, mask=mask, **call)
        for training in (True, False):
            got = layer(x, mask=mask, training=training, **call)
            for g, w in zip(tf.nest.flatten(got), tf.nest.flatten(wanted)):
                np.testing.assert_allclose(g, w, atol=1e-12)


@pytest.mark.parametrize("features", [1, 9])
@pytest.mark.parametrize("form", ["auto", "adjoint", "plain"])
@pytest.mark.parametrize("options", [{}, {"go_backwards": True}])
def test_the_last_output_alone_is_that_of_all(options, form, features):
    """Values and every gradient, with few features (the powers) and with more (the loop)."""
    every = built(features=features, form=form, return_sequences=True, **options)
    last = built(features=features, form=form, **options)
    last.set_weights(every.get_weights())
    x, state = normal(3, 6, features), list(normal(2, 3, 4, seed=1))
    for mask in (None, MASK):
        found = []
        for layer in (every, last):
            with tf.GradientTape() as tape:
                y = layer(x, initial_state=state, mask=mask, training=True)
                y = y[:, -1] if layer is every else y
                loss = tf.reduce_sum(tf.sin(y))
            found.append([y, *tape.gradient(loss, layer.trainable_weights)])
        for got, want in zip(*found, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-12)


def test_a_long_memory_in_single_precision_by_powers_and_by_the_loop():
    weights, x = None, normal(4, 784, 1).astype("float32")
    found = []
    for form in ("auto", "adjoint"):
        layer = built(features=1, dtype="float32", form=form, r_min=0.99, r_max=0.9999)
        weights = weights or layer.get_weights()
        layer.set_weights(weights)
        found.append(layer(x, training=True).numpy())
    np.testing.assert_allclose(*found, atol=1e-5 * np.abs(found[0]).max())
    assert np.abs(found[0]).max() > 0.1


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


def test_second_derivatives_are_refused_or_right():
    x = tf.constant(normal(2, 5, 3))

    def hessian_diagonal(form, **options):
        layer = built(form=form, **options)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(layer(x, training=True) ** 2)
            gradient = inner.gradient(loss, layer.cell.nu_log.value)
            first = gradient[0]
        return outer.gradient(first, layer.cell.nu_log.value)[0], gradient[0]

    with pytest.raises(SecondDerivativeError, match='form="plain"'):
        hessian_diagonal("auto", return_sequences=True)

    def slope(shift):
        layer = built()
        layer.cell.nu_log.assign_add([shift, 0, 0, 0])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True) ** 2)
        return tape.gradient(loss, layer.cell.nu_log.value)[0]

    numeric = (slope(1e-5) - slope(-1e-5)) / 2e-5
    for form in ("autodiff", "auto"):  # the last state of few features has no adjoint to refuse
        np.testing.assert_allclose(hessian_diagonal(form)[0], numeric, rtol=1e-7)
