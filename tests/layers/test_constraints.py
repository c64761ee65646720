"""The projections against independent ones, and the guarantee that the stored result is inside."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnnzoo.layers.constraints import ColumnL1, SpectralNorm, UpperBound

DTYPES = ["float32", "float64", "float16", "bfloat16"]
FEW = settings(max_examples=40, deadline=None)


def matrices(dtype=np.float32, limit=1e6):
    entries = st.floats(-limit, limit, width=32)
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=entries)


def wide(w):
    return tf.cast(w, tf.float64).numpy()


@FEW
@given(w=matrices(), bound=st.floats(1e-3, 10.0))
def test_spectral_norm_is_held_and_repeating_changes_nothing(w, bound):
    projected = SpectralNorm(bound)(w)
    assert np.linalg.norm(wide(projected), 2) <= bound
    np.testing.assert_array_equal(SpectralNorm(bound)(projected), projected)


@FEW
@given(w=matrices(), radius=st.floats(1e-3, 10.0))
def test_column_sums_are_held_and_repeating_changes_nothing(w, radius):
    projected = ColumnL1([radius])(w)
    assert np.abs(wide(projected)).sum(0).max() <= radius
    np.testing.assert_array_equal(ColumnL1([radius])(projected), projected)


@example(w=np.zeros(4, np.float32), bound=-1.1125369292536007e-308)  # a subnormal number
@FEW
@given(w=hnp.arrays(np.float32, 4, elements=st.floats(-9, 9, width=32)), bound=st.floats(-5, 5))
def test_upper_bound_is_held_in_its_group_alone(w, bound):
    projected = UpperBound([None, bound])(w).numpy()
    np.testing.assert_array_equal(projected[:2], w[:2])
    assert projected[2:].astype(np.float64).max() <= bound
    np.testing.assert_allclose(projected[2:], np.minimum(w[2:], bound), rtol=2e-7, atol=1e-37)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_stays_inside(dtype):
    rng = np.random.default_rng(0)
    w = tf.cast(rng.normal(size=[20, 24]), dtype)
    assert np.linalg.norm(wide(SpectralNorm(0.95)(w)), 2) <= 0.95
    sums = np.abs(wide(ColumnL1([0.1, None, 1.0])(w))).sum(0).reshape(3, 8)
    assert sums[0].max() <= 0.1
    assert sums[2].max() <= 1.0
    np.testing.assert_array_equal(sums[1], np.abs(wide(w)).sum(0)[8:16])
    assert wide(UpperBound([0.1])(w[0])).max() <= 0.1


def test_spectral_projection_is_the_nearest_point():
    """<w - p, v - p> <= 0 for every admissible v is what makes p the projection of w."""
    rng = np.random.default_rng(1)
    w = rng.normal(size=[5, 7])
    p = SpectralNorm(1.2)(tf.constant(w)).numpy()
    u, s, v = np.linalg.svd(w, full_matrices=False)
    np.testing.assert_allclose(p, (u * np.minimum(s, 1.2)) @ v, atol=1e-11)
    for _ in range(50):
        other = rng.normal(size=w.shape)
        other *= 1.2 / np.linalg.norm(other, 2)
        assert np.sum((w - p) * (other - p)) <= 1e-9


def test_l1_projection_is_the_nearest_point():
    """Against bisection on the threshold, and against the corners of the ball."""
    rng = np.random.default_rng(2)
    w = rng.normal(size=[6, 5])
    w[:, 4] *= 0.01
    p = ColumnL1([1.0])(tf.constant(w)).numpy()
    for column, projected in zip(w.T, p.T):
        low, high = 0.0, np.abs(column).max()
        for _ in range(100):
            middle = (low + high) / 2.0
            inside = np.maximum(np.abs(column) - middle, 0.0).sum() <= 1.0
            low, high = (low, middle) if inside else (middle, high)
        want = np.sign(column) * np.maximum(np.abs(column) - high, 0.0)
        np.testing.assert_allclose(projected, want, atol=1e-11)
        for corner in np.concatenate([np.eye(6), -np.eye(6)]):
            assert (column - projected) @ (corner - projected) <= 1e-9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [[40, 40], [30, 50], [50, 30]])
@pytest.mark.parametrize("away", [1e-9, 1e-3, 0.3, 5.0, 1e4])
def test_every_road_to_the_spectral_projection_is_exact(dtype, shape, away):
    """From the surface, where training stays, to far outside: eigenvectors, singular values."""
    rng = np.random.default_rng(5)
    q = np.linalg.qr(rng.normal(size=[50, 50]))[0][: shape[0], : shape[1]]
    w = tf.cast(0.9 * q + away * rng.normal(size=shape) / 7.0, dtype)
    u, s, v = np.linalg.svd(wide(w), full_matrices=False)
    for bound in (0.9, 0.5 * s[0], 1.001 * s[0]):
        p = SpectralNorm(bound)(w)
        assert np.linalg.norm(wide(p), 2) <= bound
        tolerance = 3e-6 * bound if dtype == "float32" else 1e-11 * max(bound, s[0])
        np.testing.assert_allclose(wide(p), (u * np.minimum(s, bound)) @ v, atol=tolerance)
        np.testing.assert_array_equal(SpectralNorm(bound)(p), p)
        if s[0] < bound * (1 - 1e-9):
            np.testing.assert_array_equal(p, w)


@pytest.mark.parametrize("bound", [1e-60, 1.0, 1e60])
@pytest.mark.parametrize("rank", [1, 3])
def test_a_matrix_of_any_scale_and_rank_is_held(bound, rank):
    rng = np.random.default_rng(6)
    left, right = (np.linalg.qr(rng.normal(size=[n, rank]))[0] for n in (5, 4))
    base = left @ right.T
    for scale in (1.0 + 1e-15, 1.5, 1e4, 1e150):  # equal singular values, and zeros
        w = tf.constant(bound * scale * base)
        p = SpectralNorm(bound)(w)
        assert np.linalg.norm(p.numpy() / bound, 2) <= 1.0
        if scale < 1e5:  # beyond, the rounding of w itself is above the bound
            np.testing.assert_allclose(p.numpy() / bound, base, atol=1e-10)
        np.testing.assert_array_equal(SpectralNorm(bound)(p), p)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_a_weight_that_is_not_finite_is_an_error(value, wrap):
    for constraint, shape in ((SpectralNorm(1.0), [2, 2]), (ColumnL1([1.0]), [2, 2])):
        with pytest.raises(tf.errors.InvalidArgumentError, match="is not finite"):
            wrap(constraint.__call__)(tf.fill(shape, value))


def test_under_xla_a_weight_that_is_not_finite_stays_so():
    compiled = tf.function(ColumnL1([1.0]).__call__, jit_compile=True)
    assert np.isnan(compiled(tf.constant([[np.inf], [1.0]]))).all()


@pytest.mark.parametrize(
    "constraint", [SpectralNorm(0.5), ColumnL1([0.5, None]), UpperBound([None, -1.0])]
)
def test_config_round_trip(constraint):
    copy = keras.constraints.deserialize(keras.constraints.serialize(constraint))
    assert type(copy) is type(constraint)
    assert copy.get_config() == constraint.get_config()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: SpectralNorm(0.0), ValueError, r"`bound` must be .* Received: bound=0.0"),
        (lambda: SpectralNorm(1e-100), ValueError, r"`bound` must be .* Received: bound=1e-100"),
        (lambda: SpectralNorm("1"), TypeError, r"`bound` must be a number. Received: bound='1'"),
        (lambda: SpectralNorm(1.0)(np.ones(3)), ValueError, r"matrices. Received: w.shape=\(3,\)"),
        (lambda: ColumnL1(1.0), TypeError, r"`radii` must be a list .* Received: radii=1.0"),
        (lambda: ColumnL1([]), TypeError, r"`radii` must be a list .* Received: radii=\[\]"),
        (lambda: ColumnL1([-1.0]), ValueError, r"`radii` must be .* Received: radii=-1.0"),
        (lambda: ColumnL1([1.0] * 2)(np.ones([2, 3])), ValueError, r"into 2 groups.*\(2, 3\)"),
        (lambda: UpperBound([np.nan]), ValueError, r"`bounds` must be .* Received: bounds=nan"),
        (lambda: UpperBound([1.0])(np.ones([2, 2])), ValueError, r"vectors. Received.*\(2, 2\)"),
    ],
)
def test_bad_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_huge_weights_are_projected_as_exactly_as_small_ones():
    w = 1e12 + np.array([[0.5, 3.0], [0.25, 1.0], [0.0, -2e12]])
    got = ColumnL1([0.75])(tf.constant(w)).numpy()
    want = np.array([[0.5, 0.75], [0.25, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(got, want, atol=1e-9)
    rng = np.random.default_rng(3)
    w = rng.normal(size=[5, 5])
    big, small = (SpectralNorm(0.5)(tf.constant(s * w)).numpy() for s in (1e12, 1e3))
    np.testing.assert_allclose(big, small, atol=1e-12)
