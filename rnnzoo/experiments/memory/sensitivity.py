r"""How the state of one linear unit, and its derivative by the eigenvalue, grow with memory.

    h_t = lambda h_{t-1} + x_t,   E[x_t x_{t+d}] = rho^|d|

E|h|^2 and E|dh/dlambda|^2 in the stationary regime, by their closed forms and by Monte Carlo: many
Gaussian sequences, both moments at the last step, with the standard error of their mean. The first
of these sequences also go through a `ComplexRNN` with the same eigenvalues and
`rnnzoo.diagnostics.sensitivity`, which must give what the recursion gives.
"""

import functools
import math

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

_SOURCE = "Zucchet & Orvieto (arXiv:2405.21064), section 3, from its authors' code"
PUBLISHED = [
    {
        "what": what,
        "value": value,
        "source": _SOURCE,
        "confidence": "seen; checked here by its series",
    }
    for what, value in (
        ("E[h^2]", "(1 + rho l) / ((1 - rho l) (1 - l^2))"),
        (
            "E[(dh/dl)^2]",
            "((1 + l^2) (1 - l^2 rho^2) + 2 (1 - l^2) l rho) / ((1 - l^2)^3 (1 - l rho)^2)",
        ),
    )
] + [
    {"what": "rho", "value": [0, 0.9, 0.99, 0.999, 1], "source": _SOURCE, "confidence": "seen"},
    {
        "what": "1 - lambda",
        "value": [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64],
        "source": _SOURCE,
        "confidence": "seen",
    },
]
NOTES = [
    "rho and moduli are the published ones; complex eigenvalues (phases other than 0), the number "
    "of sequences and their length are ours.",
    "All eigenvalues of a cell see the same inputs, so their errors are correlated: the "
    "deviations in units of the standard error are no independent draws.",
    "A sequence ends after `memories` times 1 / (1 - |lambda|) steps of the slowest unit, when "
    "what is missing of the stationary regime is far below the error.",
]


def _settings(rho, distances, phases, rows, memories, seeds):
    return {
        "rho": rho,
        "distances": distances,
        "phases": phases,
        "rows": rows,
        "memories": memories,
        "seeds": list(range(seeds)),
        "diagnostic": {"rows": 2, "time": 40},
    }


_RHO = [0.0, 0.9, 0.99, 0.999, 1.0]
_DISTANCES = [0.64, 0.32, 0.16, 0.08, 0.04, 0.02, 0.01]
_PHASES = [0.0, math.pi / 100, math.pi / 4]
SCALES = {
    "smoke": _settings([0.9], [0.64, 0.32], [0.0, 1.0], 4_000, 16, 1),
    "desk": _settings(_RHO, _DISTANCES, _PHASES, 10_000, 16, 2),
    "paper": _settings(_RHO, [*_DISTANCES, 0.005, 0.0025], _PHASES, 100_000, 16, 10),
}


def cells(settings):
    """One for each rho and seed, over all eigenvalues."""
    shared = {k: settings[k] for k in ("distances", "phases", "rows", "memories", "diagnostic")}
    found = []
    for run in _experiment.grid(rho=settings["rho"], seed=settings["seeds"]):
        known = {**shared, **run}
        name = f"rho{run['rho']:g}/seed{run['seed']}"
        found.append(_experiment.Cell(name, known, functools.partial(_measure, **known)))
    return found


def eigenvalues(distances, phases):
    """All moduli of a phase, then those of the next."""
    import numpy as np

    return np.outer(np.exp(1j * np.array(phases)), 1.0 - np.array(distances)).ravel()


def _measure(folder, console, *, distances, phases, rows, memories, diagnostic, rho, seed):
    """Means over the sequences and their standard errors; how far the diagnostic is from them."""
    import numpy as np

    values = eigenvalues(distances, phases)
    time = math.ceil(memories / min(distances))
    checked = min(rows, diagnostic["rows"]), min(time, diagnostic["time"])
    random = np.random.default_rng(seed)
    h = np.zeros([rows, len(values)], complex)
    slope, kept = np.zeros_like(h), []
    x = random.normal(size=rows)
    for t in range(time):
        slope = h + values * slope
        h = values * h + x[:, None]
        kept.append(x[: checked[0]])
        if t + 1 == checked[1]:
            by_hand = np.mean(np.abs(slope[: checked[0]]) ** 2, 0)
        x = rho * x + math.sqrt(1.0 - rho**2) * random.normal(size=rows)
    inputs = np.stack(kept[: checked[1]], 1)[..., None]
    return {
        "state": _mean_and_error(np.abs(h) ** 2),
        "sensitivity": _mean_and_error(np.abs(slope) ** 2),
        "steps": time,
        "diagnostic_apart": float(np.max(np.abs(_diagnose(values, inputs) / by_hand - 1.0))),
    }


def _mean_and_error(samples):
    deviation = samples.std(0, ddof=1) / math.sqrt(len(samples))
    return {"mean": samples.mean(0).tolist(), "error": deviation.tolist()}


def _diagnose(values, inputs):
    """`rnnzoo.diagnostics.sensitivity` of a layer with these eigenvalues, by their real parts."""
    import keras
    import numpy as np

    from rnnzoo import diagnostics, layers

    rnn = layers.ComplexRNN(1, state_size=len(values), dtype="float64")
    model = keras.Sequential([keras.Input((None, 1), dtype="float64"), rnn])
    rnn.cell.lambda_re_im.assign(np.stack([values.real, values.imag]))
    rnn.cell.B_re.assign(np.ones([len(values), 1]))
    rnn.cell.B_im.assign(np.zeros([len(values), 1]))
    found = diagnostics.sensitivity(model, inputs).last["lambda_re_im"][0]
    keras.backend.clear_session()
    return found


def summarize(settings, results):
    """For each rho both moments beside theory, and how they grow as |lambda| goes to 1."""
    import numpy as np

    values = eigenvalues(settings["distances"], settings["phases"])
    summary = {}
    for rho in settings["rho"]:
        group = [results.get(f"rho{rho:g}/seed{seed}") for seed in settings["seeds"]]
        if None not in group:
            summary[f"{rho:g}"] = {
                **{kind: _beside_theory(kind, group, values, rho) for kind in _MOMENTS},
                "diagnostic_apart": max(result["diagnostic_apart"] for result in group),
            }
    every = [e["deviations"] for s in summary.values() for e in (s["state"], s["sensitivity"])]
    if every:
        deviations = np.abs(np.concatenate(every))
        summary["all"] = {
            "largest_deviation": float(deviations.max()),
            "share_within_two": float(np.mean(deviations < 2.0)),
            "moments": len(deviations),
            "largest_relative_error": max(
                s[kind]["largest_relative_error"] for s in summary.values() for kind in _MOMENTS
            ),
        }
    return summary


_MOMENTS = {"state": "state_second_moment", "sensitivity": "sensitivity_second_moment"}


def _beside_theory(kind, group, values, rho):
    """Means over seeds; deviations from theory in standard errors."""
    import numpy as np

    from rnnzoo import diagnostics

    theory = getattr(diagnostics, _MOMENTS[kind])(values, rho)
    mean = np.mean([result[kind]["mean"] for result in group], 0)
    errors = np.array([result[kind]["error"] for result in group])
    error = np.sqrt(np.mean(errors**2, 0) / len(group))
    return {
        "theory": theory.tolist(),
        "mean": mean.tolist(),
        "error": error.tolist(),
        "deviations": ((mean - theory) / error).tolist(),
        "largest_relative_error": float(np.max(error / theory)),
        "growth": _growth(np.abs(values), theory),
    }


def _growth(moduli, theory):
    """The exponent p of (1 - |lambda|)^-p between the two slowest real units."""
    import numpy as np

    first = np.flatnonzero(moduli[: len(np.unique(moduli.round(12)))])
    one, other = sorted(first, key=lambda i: moduli[i])[-2:]
    distances = np.log([1.0 - moduli[one], 1.0 - moduli[other]])
    return float(-np.diff(np.log(theory[[one, other]]))[0] / np.diff(distances)[0])


def draw(settings, summary):
    """Both moments of the real units, those of complex ones, and all deviations from theory."""
    import numpy as np

    figure = _experiment.new_figure(15, 3.8)
    axes = figure.subplots(1, 4)
    count = len(settings["distances"])
    last = len(settings["phases"]) - 1
    panels = [("state", 0), ("sensitivity", 0), ("sensitivity", last)]
    for number, rho in enumerate(settings["rho"]):
        found = summary.get(f"{rho:g}")
        if found is None:
            continue
        for panel, (kind, phase) in zip(axes, panels):
            part = slice(phase * count, (phase + 1) * count)
            _draw_moment(panel, settings["distances"], found[kind], part, f"C{number}", rho)
        deviations = np.array(found["state"]["deviations"] + found["sensitivity"]["deviations"])
        axes[3].plot(np.full(len(deviations), number), deviations, ".", color=f"C{number}")
    for panel, (kind, phase) in zip(axes, panels):
        what = {"state": r"$E|h|^2$", "sensitivity": r"$E|\mathrm{d}h/\mathrm{d}\lambda|^2$"}
        title = f"{what[kind]}, phase {settings['phases'][phase]:.3g}"
        panel.set(xscale="log", yscale="log", xlabel=r"$1-|\lambda|$", title=title)
        panel.invert_xaxis()
    if axes[0].lines:
        axes[0].legend(fontsize="x-small", title="lines: theory", title_fontsize="x-small")
    axes[3].axhspan(-2, 2, color="0.9")
    axes[3].set(
        xticks=range(len(settings["rho"])),
        xticklabels=settings["rho"],
        xlabel=r"$\rho$",
        title="deviation in standard errors",
    )
    return figure


def _draw_moment(panel, distances, found, part, color, rho):
    panel.plot(distances, found["theory"][part], color=color)
    errors = found["error"][part]
    panel.errorbar(
        distances, found["mean"][part], errors, fmt=".", color=color, label=f"rho = {rho:g}"
    )
