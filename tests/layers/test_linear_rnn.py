"""LinearRNN against NumPy, against Keras over its own cell, and against the complex diagonal."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.initializers import Ring
from rnnzoo.layers import ComplexRNN, LinearRNN, LRUBlock
from tests.references import linear_rnn as reference
from tests.references.lru_layers import EVERYTHING, MASK, normal


def built(units=5, heads=2, features=3, batch=None, **options):
    options = {"state_size": 6, "seed": 3, "dtype": "float64", **options}
    layer = LinearRNN(units, heads, **options)
    layer.build([batch, None, features])
    return layer


@pytest.mark.parametrize(
    ("heads", "units", "form", "training"),
    [(1, 5, "auto", True), (3, 3, "adjoint", True), (2, 5, "xla", True), (6, 3, "auto", False)],
)
def test_values_and_every_gradient_equal_numpy(heads, units, form, training):
    layer = built(units, heads, form=form, **EVERYTHING)
    x, state = normal(3, 6, 3), normal(3, 6, seed=1)
    upstream, final = normal(3, 6, units, seed=2), normal(3, 6, seed=4)
    arguments = (x, state, *layer.get_weights(), MASK)

    def run(x, state):
        with tf.GradientTape() as tape:
            tape.watch([x, state])
            y, last = layer(x, initial_state=[state], mask=tf.constant(MASK), training=training)
            loss = tf.reduce_sum(y * upstream) + tf.reduce_sum(last * final)
        return [y, last], tape.gradient(loss, [x, state, *layer.trainable_weights])

    if form == "xla":
        run = tf.function(run, autograph=False)
    results, gradients = run(tf.constant(x), tf.constant(state))
    for got, want in zip(results, reference.values(*arguments), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    wanted = reference.gradients(*arguments, upstream, final)
    for got, want in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-11)


def test_two_by_two_blocks_are_the_complex_diagonal():
    theirs = ComplexRNN(4, state_size=3, r_min=0.5, seed=1, dtype="float64", **EVERYTHING)
    ours = built(4, heads=3, **EVERYTHING)
    theirs.build([None, None, 3])
    eigenvalues, cell = theirs.eigenvalues(), theirs.cell
    blocks = np.array([[[v.real, -v.imag], [v.imag, v.real]] for v in eigenvalues])

    def interleaved(re, im, axis):
        return np.stack([np.asarray(re), np.asarray(im)], axis + 1).reshape(ours_shape[axis])

    ours_shape = {0: (6, 3), 1: (4, 6)}
    b, c = interleaved(cell.B_re, cell.B_im, 0), interleaved(cell.C_re, -cell.C_im, 1)
    ours.set_weights([blocks, b, c, np.asarray(cell.D)])
    x, state = normal(3, 6, 3), normal(2, 3, 3, seed=1)
    y, re, im = theirs(x, initial_state=list(state), mask=MASK)
    flat = np.stack(state, -1).reshape(3, 6)
    mine, last = ours(x, initial_state=[flat], mask=MASK)
    np.testing.assert_allclose(mine, y, atol=1e-12)
    np.testing.assert_allclose(last, np.stack([re, im], -1).reshape(3, 6), atol=1e-12)
    pairs = np.concatenate([eigenvalues, eigenvalues.conj()])
    np.testing.assert_allclose(np.sort_complex(ours.eigenvalues()), np.sort_complex(pairs))
    np.testing.assert_allclose(ours.contraction(), abs(eigenvalues).max())


@pytest.mark.parametrize(
    "options", [{**EVERYTHING}, {"return_state": True, "go_backwards": True}, {}]
)
@pytest.mark.parametrize("mask", [None, MASK])
def test_equals_keras_over_the_same_cell(options, mask):
    layer = built(**options)
    theirs = keras.layers.RNN(layer.cell, dtype="float64", **options)
    x, state = normal(3, 6, 3), [normal(3, 6, seed=1)]
    for call in ({}, {"initial_state": state}):
        got = tf.nest.flatten(layer(x, mask=mask, **call))
        for g, w in zip(got, tf.nest.flatten(theirs(x, mask=mask, **call)), strict=True):
            np.testing.assert_allclose(g, w, atol=1e-12)


def test_what_stands_at_masked_steps_reaches_nothing():
    layer = built(return_sequences=True)
    x = np.where(MASK[..., None], normal(3, 6, 3), np.nan)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, mask=MASK, training=True) ** 2)
    for gradient in tape.gradient(loss, layer.trainable_weights):
        assert np.isfinite(gradient).all()


def test_the_bound_is_the_largest_norm_of_a_block_and_is_met():
    layer = built(heads=2, features=1, return_state=True)
    blocks = layer.cell.A.numpy()
    largest = max(np.linalg.svd(block, compute_uv=False)[0] for block in blocks)
    assert largest <= layer.contraction(input_bound=3.0) <= largest * (1 + 1e-12)
    head = int(np.argmax([np.linalg.norm(block, 2) for block in blocks]))
    worst = np.zeros([1, 6])
    worst[0, 3 * head : 3 * head + 3] = np.linalg.svd(blocks[head])[2][0]
    x = normal(1, 1, 1)
    _, moved = layer(x, initial_state=[worst])
    _, still = layer(x, initial_state=[0 * worst])
    gain = np.linalg.norm(moved - still)  # of a difference of norm 1
    assert layer.contraction() * (1 - 1e-9) <= gain <= layer.contraction()
    with pytest.raises(ValueError, match="`input_bound` must be a number in"):
        layer.contraction(input_bound=-1.0)
    layer.cell.A.assign(np.full([2, 3, 3], np.nan))
    with pytest.raises(ValueError, match=r"`A` of .* is not finite"):
        layer.contraction()
    with pytest.raises(ValueError, match="must be asked of a layer that is built"):
        LinearRNN(2).contraction()


def test_each_head_gets_a_matrix_of_its_own():
    layer = built(heads=2, recurrent_initializer="orthogonal", dtype="float32")
    first, second = layer.cell.A.numpy()
    for block in (first, second):
        np.testing.assert_allclose(block @ block.T, np.eye(3), atol=1e-6)
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(layer.contraction(), 1.0, atol=1e-6)
    again = built(heads=2, recurrent_initializer="orthogonal", dtype="float32")
    for a, b in zip(layer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    own = built(heads=1, seed=None, recurrent_initializer=Ring(0.8, 0.9, seed=5))
    np.testing.assert_allclose(own.cell.A[0], Ring(0.8, 0.9, seed=5)((6, 6)), atol=1e-6)
    assert np.abs(built(heads=2).eigenvalues()).max() < 1  # the default: moduli tanh|l|


def test_the_first_projections_have_the_stated_variances():
    layer = built(200, heads=1, features=50, state_size=100)
    for name, variance in [("B", 1 / 50), ("C", 1 / 100), ("D", 1 / 50)]:
        values = getattr(layer.cell, name).numpy()
        error = 5 * variance * np.sqrt(2 / values.size)
        np.testing.assert_allclose(np.mean(values**2), variance, atol=error)


def test_in_mixed_precision_the_state_is_never_rounded_to_half():
    options = {"stateful": True, "batch": 2, **EVERYTHING}
    layer = built(dtype="mixed_bfloat16", **options)
    exact = built(dtype="float32", **options)
    x = tf.cast(normal(2, 9, 3), "bfloat16")
    for _ in range(2):  # the second begins with the state that the first has left
        y, state = layer(x)
        wanted, exact_state = exact(tf.cast(x, "float32"))
        assert (y.dtype, state.dtype) == (tf.bfloat16, tf.float32)
        np.testing.assert_array_equal(state, exact_state)
        np.testing.assert_array_equal(y, tf.cast(wanted, "bfloat16"))
    symbolic = layer(keras.KerasTensor([2, 9, 3], dtype="bfloat16"))
    assert [s.dtype for s in symbolic] == ["bfloat16", "float32"]


@pytest.mark.slow
def test_second_derivatives_of_the_autodiff_form_equal_differences_of_first_ones():
    x, direction = tf.constant(normal(2, 5, 3)), normal(2, 3, 3, seed=8)

    def slope(form, shift=0.0):
        layer = built(form=form, return_sequences=True)
        a = layer.cell.A
        a.assign_add(shift * direction)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(layer(x, training=True) ** 2)
            along = tf.reduce_sum(inner.gradient(loss, a.value) * direction)
        return along, (lambda: outer.gradient(along, a.value))

    numeric = (slope("adjoint", 1e-5)[0] - slope("adjoint", -1e-5)[0]) / 2e-5
    second = np.sum(slope("autodiff")[1]() * direction)
    np.testing.assert_allclose(second, numeric, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LinearRNN, LRUBlock])
def test_compiled_with_xla_a_training_step_is_the_same(kind):
    layer = kind(3, state_size=4, seed=1, return_sequences=True, dtype="float64")
    x = tf.constant(normal(2, 9, 3))
    layer(x)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(layer(x, training=True)))
        return loss, tape.gradient(loss, layer.trainable_weights)

    compiled = tf.function(gradients, jit_compile=True, autograph=False)()
    for got, want in zip(tf.nest.flatten(compiled), tf.nest.flatten(gradients()), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-7)
