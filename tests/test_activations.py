"""Every fact of the table of activations, measured."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.activations import FACTS, facts, named, slopes_of_inputs

# Kinks and what lies beside them, and far out, where a bound or a slope may be met in the limit.
POINTS = np.concatenate(
    [np.linspace(-30, 30, 60_002), [-300.0, -3.0 - 1e-9, -1e-9, 1e-9, 3.0 - 1e-9, 300.0]]
)
everything = pytest.mark.parametrize("activation", FACTS, ids=lambda f: f.__name__)
elementwise = pytest.mark.parametrize("activation", named(lambda known: known.elementwise))


def jacobian(activation, a):
    """dy_i / da_j, `[n, n]`, at one point `a [n]`."""
    a = tf.constant(a)[None]
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = activation(a)
    return tape.jacobian(y, a)[0, :, 0].numpy()


@everything
def test_acting_on_each_unit_alone(activation):
    rng = np.random.default_rng(0)
    found = jacobian(activation, rng.normal(size=5))
    apart = found - np.diag(np.diag(found))
    assert (np.abs(apart).max() == 0.0) == FACTS[activation].elementwise


@elementwise
def test_lipschitz_constants(activation):
    """No slope exceeds the constant, and one comes within 0.1 % of it."""
    activation = keras.activations.get(activation)
    constant = FACTS[activation].lipschitz
    steepest = np.abs(slopes_of_inputs(activation, tf.constant(POINTS))).max()
    if constant is None:
        assert steepest > 1e100
    else:
        assert 0.999 * constant <= steepest <= constant * (1 + 1e-12)


def test_the_lipschitz_constant_of_softmax_in_both_norms():
    constant = FACTS[keras.activations.softmax].lipschitz
    rng = np.random.default_rng(1)
    points = [*rng.normal(scale=3.0, size=(200, 4)), np.array([0.0, 0.0, -50.0, -50.0])]
    for order in (2, np.inf):
        norms = [np.linalg.norm(jacobian(keras.activations.softmax, a), order) for a in points]
        assert 0.999 * constant <= max(norms) <= constant * (1 + 1e-12)


@everything
def test_bounds_of_the_values(activation):
    bound = FACTS[activation].bound
    values = np.abs(activation(tf.constant(POINTS)[:, None] * [1.0, -1.0])).max()
    if np.isinf(bound):
        assert values > 250.0
    else:
        assert 0.99 * bound <= values <= bound


@pytest.mark.parametrize("activation", named(lambda known: known.slope_of_output is not None))
def test_slopes_of_outputs(activation):
    activation = keras.activations.get(activation)
    a = tf.constant(POINTS[np.abs(POINTS) < 10.0])
    given = FACTS[activation].slope_of_output(activation(a))
    np.testing.assert_allclose(given, slopes_of_inputs(activation, a), rtol=1e-9, atol=1e-12)


def test_nothing_is_assumed_of_an_activation_without_an_entry():
    known = facts(lambda a: 2.0 * a)
    assert known.lipschitz is None
    assert not known.elementwise
    assert known.slope_of_output is None
    assert np.isinf(known.bound)
