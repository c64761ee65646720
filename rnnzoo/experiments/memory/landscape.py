r"""The loss of one complex linear unit around its teacher, and the way that Adam takes to it.

Student and teacher are one unit each, h_t = lambda h_{t-1} + g x_t, on white inputs; the loss is
half the mean squared difference of their states, in closed form. The eigenvalue is written in the
ways that `LRU` knows. What is drawn is the loss over the two weights of each of them, with Adam's
path from a teacher's angle to another, and what is tabled the curvature at the teacher.
"""

import functools
import math

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

_SOURCE = "Zucchet & Orvieto (arXiv:2405.21064), section 4, from its authors' code"
PUBLISHED = [
    {"what": what, "value": value, "source": _SOURCE, "confidence": confidence}
    for what, value, confidence in (
        (
            "learning an angle",
            "0.99 exp(i pi/4) to 0.99 exp(i pi/100), Adam at 1e-3, 50,000 steps, loss without "
            "normalization, three ways to write the angle",
            "seen",
        ),
        (
            "the parametrization with a curvature of 1 everywhere",
            "nu = tanh(w_nu), theta = w_theta (1 - nu^2) / (nu sqrt(1 + nu^2)), normalized inputs",
            "seen; derived here too",
        ),
        ("curvature at a real eigenvalue", "(1 + l^2) / (1 - l^2)^3", "derived"),
    )
]
NOTES = [
    "The gradients are automatic, in float64, of the decoding that `LRU` uses; its constraints "
    "hold the weights inside the unit circle after every step, as they do in training.",
    "The published run is the one without normalization. The normalized ones, the Cartesian way "
    "and the start at another modulus are ours.",
    "Curvatures are those at a teacher of the run's angle, pi/100, and each of the moduli. With an "
    "angle other than 0 the tanh weights are coupled there: the angle depends on both.",
    "Losses below 1e-12 are float64's rounding of the closed form, which may be negative.",
    "`reached` is the first step at which the loss is below a thousandth of what it was; None "
    "where that did not happen.",
]


def _settings(steps, moduli, runs, points):
    return {
        "seeds": [0],
        "parametrizations": ["cartesian", "polar", "exponential", "tanh"],
        "normalized": [False, True],
        "runs": runs,
        "learning_rate": 1e-3,
        "steps": steps,
        "moduli": moduli,
        "points": points,
    }


_ANGLE = {"student": [0.99, math.pi / 4], "teacher": [0.99, math.pi / 100]}
_MODULUS = {"student": [0.6, math.pi / 100], "teacher": [0.99, math.pi / 100]}
_MODULI = [0.36, 0.68, 0.84, 0.92, 0.96, 0.98, 0.99]
SCALES = {
    "smoke": {
        **_settings(40, [0.5, 0.9], {"angle": _ANGLE}, 5),
        "parametrizations": ["polar"],
        "normalized": [False],
    },
    "desk": _settings(50_000, _MODULI, {"angle": _ANGLE, "modulus": _MODULUS}, 61),
    "paper": _settings(50_000, [*_MODULI, 0.999], {"angle": _ANGLE, "modulus": _MODULUS}, 201),
}


def cells(settings):
    """One for each parametrization, with and without normalization, and each run."""
    found = []
    shared = {key: settings[key] for key in ("learning_rate", "steps", "moduli")}
    for one in _experiment.grid(
        parametrization=settings["parametrizations"],
        normalized=settings["normalized"],
        run=list(settings["runs"]),
    ):
        name = _name(**one)
        known = {**shared, **settings["runs"][one.pop("run")], **one}
        found.append(_experiment.Cell(name, known, functools.partial(_descend, **known)))
    return found


def _name(parametrization, normalized, run):
    return f"{run}/{'normalized' if normalized else 'plain'}/{parametrization}"


def _formula(parametrization):
    from rnnzoo.layers._eigenvalues import PARAMETRIZATIONS

    return PARAMETRIZATIONS[parametrization]


def loss(xp, formula, weights, teacher, normalized):
    """`rnnzoo.diagnostics.teacher_student_loss` of weights: `xp` is tf.math, or NumPy.

    Args:
        weights: Those of the formula's names, of any one shape.
        teacher: lambda*, a complex number.
    """
    re, im, remainder = formula.decode(xp, *weights)
    own, other = 1.0 / remainder, 1.0 / (1.0 - abs(teacher) ** 2)
    # 1 / (1 - lambda conj(lambda*)), its real part
    below = 1.0 - re * teacher.real - im * teacher.imag, re * teacher.imag - im * teacher.real
    joint = below[0] / (below[0] ** 2 + below[1] ** 2)
    if normalized:
        return 1.0 - joint / xp.sqrt(own * other)
    return (own + other) / 2.0 - joint


def _teacher(modulus, phase):
    return modulus * complex(math.cos(phase), math.sin(phase))


def _descend(
    folder, console, *, parametrization, normalized, student, teacher, learning_rate, steps, moduli
):
    """Adam's path, its losses, and the curvature at teachers of several moduli."""
    import keras
    import numpy as np

    formula = _formula(parametrization)
    weights = [keras.Variable(w, dtype="float64") for w in formula.encode(*student)]
    for weight, constraint in zip(weights, formula.constraints("float64")):
        weight.constraint = constraint  # kept by the optimizer, as for a layer's weights
    adam = keras.optimizers.Adam(learning_rate)
    adam.build(weights)
    advance = _steps(adam, weights, formula, _teacher(*teacher), normalized)
    shown = np.unique(np.round(np.geomspace(1, steps, min(steps, 120))).astype(int)).tolist()
    path, losses = [], []
    for before, after in zip([0, *shown], shown):
        path.append(_flat(weights))
        losses.append(advance(after - before))
    keras.backend.clear_session()
    return {
        "steps": shown,
        "path": [*path, _flat(weights)],
        "losses": losses,
        "curvature": {f"{m:g}": curvature(formula, m, teacher[1], normalized) for m in moduli},
    }


def _flat(weights):
    import numpy as np

    return np.concatenate([np.ravel(w.numpy()) for w in weights]).tolist()


def _steps(optimizer, weights, formula, teacher, normalized):
    """The function: take so many steps; the loss before the last of them."""
    import tensorflow as tf

    values = [w.value for w in weights]

    def step(i, _):
        with tf.GradientTape() as tape:
            found = loss(tf.math, formula, values, teacher, normalized)
        optimizer.apply(tape.gradient(found, values), weights)
        return i + 1, found

    @tf.function(autograph=False)
    def advance(count):
        start = (0, tf.zeros([], tf.float64))
        return tf.while_loop(lambda i, _: i < count, step, start)[1]

    return lambda count: float(advance(tf.constant(count)))


def curvature(formula, modulus, phase, normalized):
    """The loss's second derivatives by the weights where they stand for the teacher, `[2, 2]`."""
    import numpy as np
    import tensorflow as tf

    weights = formula.encode(modulus, phase)
    flat = tf.constant(np.concatenate([np.ravel(w) for w in weights]))

    def split(flat):
        return [flat] if len(weights) == 1 else [flat[0], flat[1]]

    with tf.GradientTape(persistent=True) as outer:  # two rows, without a loop's graph
        outer.watch(flat)
        with tf.GradientTape() as inner:
            inner.watch(flat)
            found = loss(tf.math, formula, split(flat), _teacher(modulus, phase), normalized)
        slope = inner.gradient(found, flat)
    return outer.jacobian(slope, flat, experimental_use_pfor=False).numpy().tolist()


def summarize(settings, results):
    """For each way of writing lambda: where Adam came to, how fast, and the curvatures."""
    import numpy as np

    summary = {}
    for one in _experiment.grid(
        run=list(settings["runs"]),
        normalized=settings["normalized"],
        parametrization=settings["parametrizations"],
    ):
        name = _name(**one)
        if name in results:
            result = results[name]
            below = np.array(result["losses"]) < 1e-3 * result["losses"][0]
            eigenvalues = {m: np.linalg.eigvalsh(h) for m, h in result["curvature"].items()}
            summary[name] = {
                **{key: result[key] for key in ("steps", "path", "losses")},
                "reached": result["steps"][below.argmax()] if below.any() else None,
                "final_loss": result["losses"][-1],
                "curvature": {m: e.tolist() for m, e in eigenvalues.items()},
                "own_curvature": {m: np.diag(h).tolist() for m, h in result["curvature"].items()},
                "largest_eigenvalue": {m: float(e.max()) for m, e in eigenvalues.items()},
            }
            if one["parametrization"] == "polar":
                apart = _from_closed_form(result["curvature"], one["normalized"])
                summary[name]["curvature_from_closed_form"] = apart
    return summary


def _from_closed_form(found, normalized):
    """The largest relative difference of the curvatures by modulus and angle from theory."""
    import numpy as np

    from rnnzoo import diagnostics

    theory = diagnostics.teacher_student_hessian(np.array([float(m) for m in found]), normalized)
    own = np.array([np.diag(matrix) for matrix in found.values()]).T
    return float(np.max(np.abs(own / np.array(theory) - 1.0)))


def draw(settings, summary):
    """The loss over the weights with the first run's path; losses; the largest curvatures."""
    ways = settings["parametrizations"]
    figure = _experiment.new_figure(3.4 * (len(ways) + 2), 3.2 * len(settings["normalized"]))
    grid = figure.subplots(len(settings["normalized"]), len(ways) + 2, squeeze=False)
    run = next(iter(settings["runs"]))
    for axes, normalized in zip(grid, settings["normalized"]):
        for number, way in enumerate(ways):
            found = summary.get(_name(way, normalized, run))
            if found is None:
                continue
            _draw_landscape(axes[number], settings, run, way, normalized, found)
            style = {"color": f"C{number}", "label": way}
            axes[-2].loglog(found["steps"], found["losses"], **style)
            largest = found["largest_eigenvalue"]
            axes[-1].loglog([1 - float(m) for m in largest], largest.values(), ".-", **style)
        kind = "normalized" if normalized else "plain"
        axes[-2].set(title=f"{kind}: Adam", xlabel="step", ylabel="loss")
        axes[-1].set(title=f"{kind}: at the teacher", xlabel=r"$1-|\lambda^*|$")
        axes[-1].set_ylabel("largest curvature")
        axes[-1].invert_xaxis()
        for panel in axes[-2:]:
            if panel.lines:
                panel.legend(fontsize="x-small")
    return figure


def _draw_landscape(panel, settings, run, way, normalized, found):
    import numpy as np

    formula, teacher = _formula(way), settings["runs"][run]["teacher"]
    path = np.array(found["path"])
    goal = np.concatenate([np.ravel(w) for w in formula.encode(*teacher)])
    low, high = (f([*path, goal], axis=0) for f in (np.min, np.max))
    margin = 0.15 * (high - low) + 0.02 * (high - low).max()
    sides = [np.linspace(a, b, settings["points"]) for a, b in zip(low - margin, high + margin)]
    mesh = np.meshgrid(*sides)
    with np.errstate(all="ignore"):
        weights = [np.stack(mesh)] if len(formula.names) == 1 else mesh
        values = loss(np, formula, weights, _teacher(*teacher), normalized)
        outside = formula.decode(np, *weights)[2] <= 0.0
    values = np.log10(np.where(outside | (values <= 0.0), np.nan, values))
    panel.contourf(*mesh, np.ma.masked_invalid(values), 20, cmap="viridis")
    panel.plot(*path.T, ".-", color="w", markersize=2, linewidth=0.8)
    panel.plot(*goal, "r*")
    names = formula.names if len(formula.names) == 2 else ("re", "im")
    kind = "normalized" if normalized else "plain"
    panel.set(title=f"{way}, {kind}", xlabel=names[0], ylabel=names[1])
