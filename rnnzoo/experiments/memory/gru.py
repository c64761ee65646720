"""How near a GRU is to a diagonal recurrence: its Jacobian over distance.

Each gate's recurrent matrix is orthogonal, times sigma_h; the update gate's bias is
log U[1, T_max]. Without recurrent matrices (sigma_h = 0) a unit is a diagonal recurrence whose
eigenvalue is its update gate; `theory` is that eigenvalue with the gate's inputs at 0,
sigmoid(bias).
"""

import functools
import statistics

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

_SOURCE = "Zucchet & Orvieto (arXiv:2405.21064), the section on gated networks"
PUBLISHED = [
    {"what": what, "value": value, "source": _SOURCE, "confidence": confidence}
    for what, value, confidence in (
        ("distances", "1 to 512", "seen in its authors' code"),
        ("bias of the update gate", "log U[1, T_max], T_max 1, 16, 256", "seen there"),
        ("recurrent matrices", "orthogonal, times sigma_h = 0, 1, 3", "seen there"),
        (
            "claim",
            "a GRU's Jacobian behaves as that of a diagonal recurrence at the usual scales of the "
            "recurrent matrices",
            "recalled, not confirmed",
        ),
    )
]
NOTES = [
    "Inputs are white Gaussian numbers, and the kernel is Keras's own (Glorot); which inputs and "
    "which size the paper takes is not known to us.",
    "Sizes of entries are root mean squares over rows and entries. `share` is the diagonal's part "
    "of the Jacobian's squared Frobenius norm: 1 for a diagonal recurrence, 1/units where all "
    "entries are of one size, None where rounding has left nothing.",
    "The steps' Jacobians are float32, their products float64. Sizes below 1e-30 are not drawn.",
]


def _settings(units, features, rows, distances, seeds):
    return {
        "units": units,
        "features": features,
        "rows": rows,
        "distances": distances,
        "longest": [1, 16, 256],
        "scales": [0.0, 1.0, 3.0],
        "seeds": list(range(seeds)),
    }


_DISTANCES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
SCALES = {
    "smoke": {**_settings(4, 2, 2, [1, 3], 1), "longest": [16], "scales": [0.0, 3.0]},
    "desk": _settings(64, 16, 4, _DISTANCES, 2),
    "paper": _settings(256, 64, 16, _DISTANCES, 10),
}


def cells(settings):
    """One for each T_max, scale of the recurrent matrices and seed."""
    shared = {key: settings[key] for key in ("units", "features", "rows", "distances")}
    found = []
    for run in _experiment.grid(
        longest=settings["longest"], scale=settings["scales"], seed=settings["seeds"]
    ):
        known = {**shared, **run}
        name = f"{_name(run['longest'], run['scale'])}/seed{run['seed']}"
        found.append(_experiment.Cell(name, known, functools.partial(_measure, **known)))
    return found


def _name(longest, scale):
    return f"T{longest:g}/sigma{scale:g}"


def make_gru(units, features, longest, scale, seed):
    """(the model, the GRU's layer)"""
    import keras
    import numpy as np

    from rnnzoo import initializers

    bias = initializers.Chrono(units, t_max=longest + 1, t_min=2, seed=1000 * seed)
    kernel = keras.initializers.GlorotUniform(seed=1000 * seed + 1)
    gru = keras.layers.GRU(units, kernel_initializer=kernel, bias_initializer=bias)
    model = keras.Sequential([keras.Input((None, features)), gru])
    gates = [keras.initializers.Orthogonal(1.0, seed=1000 * seed + 2 + g) for g in range(3)]
    matrices = [scale * np.asarray(gate((units, units))) for gate in gates]
    gru.cell.recurrent_kernel.assign(np.concatenate(matrices, 1))
    return model, gru


def _measure(folder, console, *, units, features, rows, distances, longest, scale, seed):
    """Sizes of the Jacobian's entries at each distance, and those that theory expects."""
    import keras
    import numpy as np
    from scipy.special import expit

    from rnnzoo import diagnostics

    model, gru = make_gru(units, features, longest, scale, seed)
    shape = (rows, max(distances), features)
    x = np.random.default_rng(seed).normal(size=shape).astype("float32")
    found = diagnostics.jacobian(model, x, distances)
    gate = expit(gru.cell.bias.numpy()[0, :units].astype(np.float64))
    squares = np.square(found.entries)
    own = squares[:, :, found.same_unit].sum((1, 2))
    total = squares.sum((1, 2, 3))
    keras.backend.clear_session()
    return {
        "diagonal": found.diagonal.tolist(),
        "off_diagonal": found.off_diagonal.tolist(),
        "share": [float(o / t) if t > 0 else None for o, t in zip(own, total)],
        "theory": [float(np.sqrt(np.mean(gate ** (2 * d)))) for d in distances],
    }


def summarize(settings, results):
    """Geometric means over seeds; the least share of the diagonal, and how far theory carries."""
    import numpy as np

    summary = {}
    for longest, scale in ((m, s) for m in settings["longest"] for s in settings["scales"]):
        group = [results.get(f"{_name(longest, scale)}/seed{s}") for s in settings["seeds"]]
        if None in group:
            continue
        sizes = {
            key: [statistics.geometric_mean(v) if all(v) else 0.0 for v in _by(group, key)]
            for key in ("diagonal", "off_diagonal", "theory")
        }
        ratio = np.array(sizes["diagonal"]) / sizes["theory"]
        within = (ratio > 0.5) & (ratio < 2.0)
        carried = len(within) if within.all() else int(within.argmin())
        summary[_name(longest, scale)] = {
            **sizes,
            "share": [None if None in s else statistics.fmean(s) for s in _by(group, "share")],
            "theory_within_two_up_to": settings["distances"][carried - 1] if carried else 0,
        }
    return summary


def _by(group, key):
    """For each distance the seeds' values."""
    return list(zip(*(result[key] for result in group)))


def draw(settings, summary):
    """Sizes against distance, a panel for each T_max and sigma_h; and the diagonal's share."""
    columns = len(settings["scales"]) + 1
    figure = _experiment.new_figure(4.0 * columns, 3.0 * len(settings["longest"]))
    grid = figure.subplots(len(settings["longest"]), columns, squeeze=False)
    for axes, longest in zip(grid, settings["longest"]):
        for number, scale in enumerate(settings["scales"]):
            found = summary.get(_name(longest, scale))
            if found is not None:
                _draw_sizes(axes[number], settings["distances"], found)
                style = {"color": f"C{number}", "label": f"sigma_h = {scale:g}"}
                share = [float("nan") if s is None else s for s in found["share"]]
                axes[-1].semilogx(settings["distances"], share, ".-", **style)
            axes[number].set(title=f"T_max = {longest:g}, sigma_h = {scale:g}", xlabel="distance")
        axes[0].set_ylabel("r.m.s. of entries")
        axes[-1].axhline(1 / settings["units"], color="k", linestyle=":")
        axes[-1].set(title="the diagonal's share of the squares", xlabel="distance")
        axes[-1].set_ylim(-0.05, 1.05)
        for panel in axes:
            if panel.lines and panel.get_legend_handles_labels()[0]:
                panel.legend(fontsize="x-small")
    return figure


def _draw_sizes(panel, distances, found):
    for key, style in (("diagonal", "o-"), ("off_diagonal", "s-"), ("theory", "k--")):
        shown = [(d, v) for d, v in zip(distances, found[key]) if v > 1e-30]
        panel.loglog(*zip(*shown), style, label=key.replace("_", "-")) if shown else None
