"""The experiments on long memory, at their smallest: what they compute, against other ways to."""

import io

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf

from rnnzoo import diagnostics, experiments, tasks
from rnnzoo.experiments.memory import _linear_students
from rnnzoo.experiments.memory import ablation as memory_ablation
from rnnzoo.experiments.memory import gru as memory_gru
from rnnzoo.experiments.memory import hessian as memory_hessian
from rnnzoo.experiments.memory import landscape as memory_landscape
from rnnzoo.experiments.memory import sensitivity as memory_sensitivity
from rnnzoo.experiments.memory import signal as memory_signal
from rnnzoo.metrics import HalfSquaredError


def reproduce(id, out, only=None):
    console = rich.console.Console(file=io.StringIO(), width=100)
    record = experiments.reproduce(id, "smoke", out, only, console)
    assert (out / "figure.png").stat().st_size > 10_000
    return record


def test_loss_and_gradient_through_the_response_are_those_of_the_batch():
    """Of a model that is run on every sequence of the task, targets and all."""
    task = tasks.get("teacher_student", nu_0=0.5, length=16, batch_size=4, validation_size=4)
    x, y = next(iter(task.validation))
    wanted = task.teacher.response(16)
    for kind in ("dense", "lru"):
        layer = _linear_students.student(kind, 4, seed=0)
        values = [v.value for v in layer.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            whole = HalfSquaredError()(y, layer(x, training=True))
            found = _linear_students.response(layer, 16, training=True)
            short = _linear_students.batch_loss(found, tf.constant(wanted, tf.float32), x[..., 0])
        assert float(short) == pytest.approx(float(whole), rel=1e-5)
        for one, other in zip(tape.gradient(short, values), tape.gradient(whole, values)):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())


def test_expected_loss_is_the_mean_over_batches():
    found, wanted = np.random.default_rng(0).normal(size=[2, 12])
    x = tf.random.stateless_normal([40_000, 12], [1, 2], dtype=tf.float64)
    mean = float(_linear_students.batch_loss(tf.constant(found), tf.constant(wanted), x))
    assert _linear_students.expected_loss(found, wanted) == pytest.approx(mean, rel=0.01)
    # And of zero it is the task's own baseline.
    task = tasks.get("teacher_student", nu_0=0.9, length=20)
    assert _linear_students.zero_loss(0.9, 20) == pytest.approx(task.baseline["loss"])


def test_teacher_at_smoke_scale(tmp_path):
    record = reproduce("memory/teacher", tmp_path)
    assert record["missing"] == []
    for found in record["summary"]["students"].values():
        entry = found["0.5"]
        assert entry["curve"][-1] == pytest.approx(entry["loss"])
        assert entry["curve"][-1] < entry["curve"][0]
        # White batches: the last epoch's loss and the closed form are of one size.
        assert 0.5 < entry["loss"] / entry["expected_loss"] < 4.0
    ratio = record["summary"]["dense_over_lru"]["0.5"]
    students = record["summary"]["students"]
    assert ratio == pytest.approx(students["dense"]["0.5"]["loss"] / students["lru"]["0.5"]["loss"])
    published = {(p["what"], p["value"]) for p in record["published"]}
    assert ("loss of the lru student at nu_0 = 0.99", 2.4e-5) in published


def test_the_best_rate_is_one_at_which_no_seed_diverged():
    def result(loss):
        return {"loss": loss, "expected_loss": loss, "curve": [loss], "largest_modulus": 0.9}

    settings = {"seeds": [0, 1], "learning_rates": [0.1, 0.01, 0.001]}
    results = {
        "a/lr0.1/seed0": result(1e-9),
        "a/lr0.1/seed1": {"diverged": "the loss was not finite in epoch 1 of 2"},
        "a/lr0.01/seed0": result(1.0),
        "a/lr0.01/seed1": result(3.0),
        "a/lr0.001/seed0": result(0.5),
        "a/lr0.001/seed1": result(4.0),
    }
    found = _linear_students.summarize(settings, results, "a")
    assert (found["learning_rate"], found["loss"], found["diverged"]) == (0.01, 2.0, [0.1])
    assert found["standard_error"] == pytest.approx(1.0)
    assert _linear_students.summarize(settings, results, "b") is None


def test_ablation_at_smoke_scale(tmp_path):
    reproduce("memory/ablation", tmp_path, "heads4")
    record = reproduce("memory/ablation", tmp_path, "constant/heads4")
    (found,) = record["summary"]["heads"].values()
    assert found["loss"] == record["summary"]["students"]["blocks_4"]["loss"]
    assert 0.0 < found["effective_learning_rate"][0] < 1.0
    settings = memory_ablation.SCALES["desk"]
    kinds = {
        name: _linear_students.student(seed=0, **{k: v for k, v in run.items() if k != "nu_0"})
        for name, run in memory_ablation._runs(settings).items()
    }
    assert kinds["heads32"].cell.A.shape == (32, 2, 2)
    assert kinds["blocks_64_of_128"].cell.A.shape == (64, 2, 2)
    assert "gamma_log" not in [w.name for w in kinds["complex"].weights]
    assert "gamma_log" in [w.name for w in kinds["complex_normalized"].weights]
    assert abs(kinds["lru"].eigenvalues()).min() >= 0.99 - 1e-6 > 0.5
    assert (
        abs(kinds["lru_from_0"].eigenvalues()).min() < 0.5 > abs(kinds["dense"].eigenvalues()).min()
    )


def test_sensitivity_at_smoke_scale(tmp_path):
    """The closed forms within the error of Monte Carlo, and no smaller error than expected."""
    record = reproduce("memory/sensitivity", tmp_path)
    found = record["summary"]["0.9"]
    assert found["diagnostic_apart"] < 1e-10
    for kind in ("state", "sensitivity"):
        deviations = np.array(found[kind]["deviations"])
        assert len(deviations) == 4
        assert np.abs(deviations).max() < 3.0
        # Squares of Gaussian numbers: a relative error of at most sqrt(2 / rows).
        relative = np.array(found[kind]["error"]) / found[kind]["theory"]
        assert (relative < 1.1 * np.sqrt(2 / 4_000)).all()
        assert (relative > 0.5 * np.sqrt(2 / 4_000)).all()
    values = memory_sensitivity.eigenvalues([0.64, 0.32], [0.0, 1.0])
    np.testing.assert_allclose(
        found["sensitivity"]["theory"], diagnostics.sensitivity_second_moment(values, 0.9)
    )
    # From 0.68 to its limit the exponent grows to 3 (white inputs).
    moduli = np.array([0.98, 0.99])
    theory = diagnostics.sensitivity_second_moment(moduli, 0.0)
    assert memory_sensitivity._growth(moduli, theory) == pytest.approx(3.0, abs=0.03)


@pytest.mark.parametrize("normalized", [False, True])
def test_landscape_loss_and_curvature(normalized):
    """The loss is the diagnostics' closed form; its curvature, by differences of that form."""
    teacher = (0.8, 0.3)
    for parametrization in ("cartesian", "polar", "exponential", "tanh"):
        formula = memory_landscape._formula(parametrization)
        encoded = formula.encode(*teacher)
        flat = np.concatenate([np.ravel(w) for w in encoded])

        def closed(flat, formula=formula):
            re, im, _ = formula.decode(np, *([flat] if len(formula.names) == 1 else flat))
            student = re + 1j * im
            return diagnostics.teacher_student_loss(student, 0.8 * np.exp(0.3j), normalized)

        moved = flat + np.array([0.01, -0.02])
        weights = [moved] if len(encoded) == 1 else list(moved)
        found = memory_landscape.loss(np, formula, weights, 0.8 * np.exp(0.3j), normalized)
        assert found == pytest.approx(float(closed(moved)), rel=1e-9)
        step, expected = 1e-4, np.empty([2, 2])
        for i, j in np.ndindex(2, 2):
            a, b = step * np.eye(2)[i], step * np.eye(2)[j]
            corners = closed(flat + a + b) - closed(flat + a - b)
            corners -= closed(flat - a + b) - closed(flat - a - b)
            expected[i, j] = corners / (4 * step**2)
        by_tape = memory_landscape.curvature(formula, *teacher, normalized)
        np.testing.assert_allclose(by_tape, expected, rtol=1e-5, atol=1e-6 * expected.max())


def test_the_tanh_parametrization_has_curvature_1_at_every_real_eigenvalue():
    for modulus in (0.5, 0.99):
        found = memory_landscape.curvature(memory_landscape._formula("tanh"), modulus, 0.0, True)
        np.testing.assert_allclose(found, np.eye(2), atol=1e-8)


def test_landscape_at_smoke_scale(tmp_path):
    record = reproduce("memory/landscape", tmp_path)
    plain = record["summary"]["angle/plain/polar"]
    assert plain["curvature_from_closed_form"] < 1e-9
    assert len(plain["path"]) == len(plain["losses"]) + 1 == len(plain["steps"]) + 1
    assert (plain["steps"][0], plain["steps"][-1]) == (1, 40)
    # Adam's first step has the size of the learning rate, in both weights.
    first = np.subtract(plain["path"][1], plain["path"][0])
    np.testing.assert_allclose(np.abs(first), 1e-3, rtol=1e-3)
    assert plain["losses"][-1] < plain["losses"][0]


def test_every_student_of_the_hessian_computes_the_teacher():
    teacher = memory_hessian.draw_teacher(2, [0.9, 0.95], 3)
    impulse = np.eye(1, 30)[..., None]
    answers = [
        memory_hessian.make_student(kind, teacher, 3)(impulse).numpy()[0, :, 0]
        for kind in ("dense", "blocks", "complex", "lru")
    ]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-12)
    values, b, c, d = teacher
    modes = (c[::2] - 1j * c[1::2]) * (b[::2] + 1j * b[1::2])
    series = (values ** np.arange(30)[:, None] @ modes).real
    series[0] += d
    np.testing.assert_allclose(answers[0], series, atol=1e-12)


@pytest.mark.slow
def test_hessian_at_smoke_scale(tmp_path):
    """At the optimum it is the mean of J J', J by differences of the student's own outputs."""
    record = reproduce("memory/hessian", tmp_path)
    settings = memory_hessian.SCALES["smoke"]
    x = np.random.default_rng([0, 2]).normal(size=[settings["rows"], settings["time"], 1])
    for kind in settings["students"]:
        teacher = memory_hessian.draw_teacher(settings["pairs"], settings["moduli"], 0)
        layer = memory_hessian.make_student(kind, teacher, 0)
        weights = layer.get_weights()
        columns = []
        for number, weight in enumerate(weights):
            for place in np.ndindex(weight.shape):
                ends = []
                for sign in (1, -1):
                    moved = [w.copy() for w in weights]
                    moved[number][place] += sign * 1e-6
                    layer.set_weights(moved)
                    ends.append(layer(x).numpy().ravel())
                columns.append((ends[0] - ends[1]) / 2e-6)
        slopes = np.stack(columns)
        expected = np.linalg.eigvalsh(slopes @ slopes.T / x.size)[::-1]
        found = record["cells"][f"{kind}/seed0"]["result"]["eigenvalues"]
        np.testing.assert_allclose(found, expected, atol=1e-7 * expected[0])
        summary = record["summary"][kind]
        assert summary["parameters"] == len(expected) == 25
        assert 1 / 25 <= min(summary["leading_concentration"]) <= 1.0
        assert 0.0 < summary["leading_share_of_recurrent_weights"][0] < 1.0


def test_gru_at_smoke_scale(tmp_path):
    record = reproduce("memory/gru", tmp_path)
    alone, mixed = record["summary"]["T16/sigma0"], record["summary"]["T16/sigma3"]
    assert alone["off_diagonal"] == [0.0, 0.0]
    assert alone["share"] == [1.0, 1.0]
    assert 0.25 / 4 < mixed["share"][1] < mixed["share"][0] < 1.0
    # Without recurrent matrices the diagonal is the product of the gates.
    _, gru = memory_gru.make_gru(4, 2, 16, 0.0, 0)
    x = np.random.default_rng(0).normal(size=[2, 3, 2]).astype("float32")
    kernel, _, bias = gru.get_weights()
    gates = 1 / (1 + np.exp(-(x @ kernel[:, :4] + bias[0, :4])))
    sizes = [np.sqrt(np.mean(np.prod(gates[:, :d], 1) ** 2)) for d in (1, 3)]
    np.testing.assert_allclose(alone["diagonal"], sizes, rtol=1e-5)
    assert 1 - 1e-6 < np.exp(bias[0, :4]).min() < np.exp(bias[0, :4]).max() < 16 + 1e-5
    _, gru = memory_gru.make_gru(4, 2, 16, 3.0, 0)
    for matrix in np.split(gru.cell.recurrent_kernel.numpy(), 3, axis=1):
        np.testing.assert_allclose(matrix @ matrix.T, 9 * np.eye(4), atol=1e-5)


def test_signal_at_smoke_scale(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "data"))
    record = reproduce("memory/signal", tmp_path / "out")
    (found,) = record["summary"].values()
    assert found["inputs"] == "gaussian"
    assert [len(row) for row in found["states"]] == [1, 1]
    ratio = np.log10(np.divide(*found["weight_gradients"]["nu_log"][::-1]))
    np.testing.assert_allclose(found["growth"]["nu_log"], ratio)


def test_inputs_of_the_deep_models(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path))
    x, source = memory_signal.draw_inputs(8, 600, 16, 0)
    assert source == "gaussian"
    fit = diagnostics.autocorrelation(x, max_lag=100)
    assert fit.values[0] == pytest.approx(0.376, rel=0.05)
    assert fit.values[10] == pytest.approx(0.044 * 0.997**10, rel=0.2)
    rows = np.arange(3 * 5 * 2, dtype="float32").reshape(3, 5, 2)
    np.save(tmp_path / memory_signal.FILE, rows)
    held, source = memory_signal.draw_inputs(2, 4, 2, 0)
    assert source == memory_signal.FILE
    assert any(np.array_equal(held[0], row[:4]) for row in rows)
    assert held.shape == (2, 4, 2)


def test_batch_norm_of_the_deep_models_uses_the_batchs_statistics():
    model = memory_signal.make_model("gru", "batch", 3.0, 4, 1, 2, 0)
    x, _ = memory_signal.draw_inputs(4, 30, 2, 0)
    model(x, training=True)
    norm = next(v for v in model.layers if isinstance(v, keras.layers.BatchNormalization))
    probe = keras.Model(model.input, norm.output)
    normalized = np.asarray(probe(x, training=False)).reshape(-1, 4)
    np.testing.assert_allclose(normalized.mean(0), 0.0, atol=1e-4)
    np.testing.assert_allclose(normalized.std(0), 1.0, atol=0.05)
