"""The experiments on Stable Recurrent Models, at their smallest."""

import io

import numpy as np
import pytest
import rich.console
import tensorflow as tf

from rnnzoo import experiments, layers
from rnnzoo.experiments.stable import _gaussian_instances as instances
from rnnzoo.experiments.stable import approximation as stable_approximation
from rnnzoo.experiments.stable import lemma1 as stable_lemma1


def reproduce(id, out, only=None):
    console = rich.console.Console(file=io.StringIO(), width=100)
    return experiments.reproduce(id, "smoke", out, only, console)


def draw_instances(n, d, time):
    random = [np.random.default_rng(seed) for seed in (0, 1)]
    drawn = instances.draw(random, n, d, 0.7)
    x = np.stack([r.normal(size=(time, d)) for r in random])
    return drawn, x, np.array([r.uniform(-2, 2) for r in random])


def test_gradients_of_the_instances_are_those_of_truncated_stable_rnns():
    drawn, x, y = draw_instances(4, 3, 6)
    last = [1, 3, 6]
    found = instances.gradients(drawn.recurrent, drawn.kernel, drawn.readout, x, y, last)
    for instance in range(2):
        layer = layers.StableRNN(4, contraction=0.7, use_bias=False, dtype="float64")
        layer.build((None, 6, 3))
        # Keras multiplies from the left: its matrices are the transposed ones.
        kernels = drawn.kernel[instance, 0].T, drawn.recurrent[instance, 0].T
        layer.set_weights(kernels)
        assert layer.contraction() == pytest.approx(0.7)
        for number, k in enumerate(last):
            truncated = layers.TruncatedWrapper(layer, k)
            with tf.GradientTape() as tape:
                h = truncated(x[instance : instance + 1])[0]
                loss = (tf.tensordot(h, drawn.readout[instance, 0], 1) - y[instance]) ** 2 / 2
            by_kernel, by_recurrent = tape.gradient(loss, [w.value for w in layer.weights])
            np.testing.assert_allclose(found[0][instance, number], by_recurrent.numpy().T)
            np.testing.assert_allclose(found[1][instance, number], by_kernel.numpy().T)


def test_gap_constants_bound_the_gradient_gap_and_not_by_magic():
    """Also where the bound is under strain: small inputs (tanh nearly linear) and W = lambda I."""
    drawn, x, y = draw_instances(4, 3, 40)
    recurrent = np.broadcast_to(0.7 * np.eye(4), drawn.recurrent.shape)
    ks = np.arange(1, 13)
    for scale in (0.01, 1.0, 10.0):
        for weights in (drawn.recurrent, recurrent):
            by = instances.gradients(weights, drawn.kernel, drawn.readout, scale * x, y, [*ks, 40])
            gap = np.sqrt(sum(((g - g[:, -1:]) ** 2).sum((-1, -2)) for g in by))[:, :-1]
            gamma = instances.gap_constants(
                np.linalg.norm(drawn.kernel[:, 0], 2, (1, 2)),
                np.linalg.norm(drawn.readout[:, 0], axis=-1),
                np.linalg.norm(scale * x, axis=-1).max(-1),
                np.abs(y),
                4,
                0.7,
            )
            ratio = gap / (gamma[:, None] * ks * 0.7**ks)
            assert 1e-4 < ratio.max() <= 1.0


def test_projection_clips_singular_values():
    matrix = np.diag([3.0, 0.5, -2.0])
    np.testing.assert_allclose(
        instances.project(matrix, 0.7), np.diag([0.7, 0.5, -0.7]), atol=1e-15
    )


def test_approximation_at_smoke_scale(tmp_path):
    record = reproduce("stable/approximation", tmp_path)
    assert record["missing"] == []
    for found in record["summary"].values():
        assert 0.0 < found["largest_gap_over_bound"] <= 1.0
        assert found["gap"] == sorted(found["gap"], reverse=True)
        # The fitted bound touches the largest gap of one k.
        over = [
            g / (found["fitted_gamma"] * k * 0.75**k)
            for k, g in zip([1, 2, 4, 8], found["largest_gap"])
        ]
        assert max(over) == pytest.approx(1.0)
    by_rate = record["summary"]
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    # The first step has the rate alpha under both schedules, and the same gap.
    first = {n: v["distance"][0][0] / v["alpha"] for n, v in _with_alpha(by_rate, record).items()}
    assert np.ptp(list(first.values())) < 0.1 * max(first.values())


def _with_alpha(summary, record):
    return {n: {**v, **record["cells"][n]["settings"]} for n, v in summary.items()}


def test_decay_and_growth_are_fitted():
    assert stable_approximation._decay([1, 2, 5], [0.5, 0.25, 0.03125]) == pytest.approx(0.5)
    assert stable_approximation._decay([1, 2], [1.0, 1e-14]) is None
    assert stable_approximation._growth([1, 4, 16, 64], [1, 2, 4, 8]) == pytest.approx(0.5)


def test_lemma1_at_smoke_scale(tmp_path):
    record = reproduce("stable/lemma1", tmp_path)
    assert record["missing"] == []
    for found in record["summary"].values():
        assert found["largest_error_over_bound"] <= 1.0
        assert found["largest_error_over_bound_of_measured_state"] <= 1.0
    lru = record["summary"]["lru/initial/contraction0.8/scale1"]
    # All eigenvalues lie between 0.72 and 0.8, so the bound cannot be far.
    assert 0.7 < lru["decay_per_step"] < 0.81
    assert lru["largest_error_over_bound_of_measured_state"] > 0.5


@pytest.mark.parametrize("kind", ["stable_rnn", "stable_lstm", "lru"])
def test_state_bounds_hold(kind):
    layer = stable_lemma1._layer(kind, 4, 0.8)
    x = np.random.default_rng(0).normal(size=[8, 30, 3])
    states = stable_lemma1._norm(layer, stable_lemma1._state(layer(x)))
    largest = np.linalg.norm(x, axis=-1).max()
    bound = stable_lemma1._state_bound(layer, largest, layer.contraction())
    assert 0.02 * bound < states.max() <= bound


def test_theorem1_at_smoke_scale(tmp_path):
    record = reproduce("stable/theorem1", tmp_path, only="stable_rnn/constant0.05")
    (found,) = record["summary"].values()
    assert [row["k"] for row in found["rows"]] == [1, 4, 12]
    # Windows as long as the sequence: the same model, batches and steps.
    whole = found["rows"].pop()
    assert whole["largest_gap"] < 1e-5
    assert whole["weight_gap"] < 1e-5
    assert found["largest_truncation_over_bound"] <= 1.0
    for row in found["rows"]:
        assert row["gap"] <= row["largest_gap"]
        assert row["truncation"] <= row["largest_truncation"] <= row["truncation_bound"]
        assert row["weight_gap"] > 0.0
    assert found["rows"][1]["truncation"] < found["rows"][0]["truncation"]
