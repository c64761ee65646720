r"""The Hessian at the optimum of one linear recurrence, written densely and diagonally.

The teacher has two pairs of slow complex eigenvalues; each student has exactly its function, in the
coordinates of a random orthogonal matrix (dense), of 2 x 2 blocks, of its eigenvectors (complex
diagonal), and as an LRU. Float64; the loss is half the mean squared difference on white inputs.
"""

import functools
import math

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

_SOURCE = "Zucchet & Orvieto (arXiv:2405.21064), section 5, from its authors' code"
PUBLISHED = [
    {"what": what, "value": value, "source": _SOURCE, "confidence": "seen"}
    for what, value in (
        ("spectra, dense and complex diagonal", "similar, from about 1e7 to 1e-7"),
        ("leading eigenvectors of the diagonal model", "on few coordinates"),
        (
            "setting",
            "float64, teacher = student, N = 4, T = 300, batch 64, moduli 0.99 + 0.003 u, uniform "
            "phases and their conjugates",
        ),
    )
]
NOTES = [
    "Eigenvalues, T and batch are the published ones. The teacher's B, C and D have the standard "
    "deviations 1, 1/2 and 1; the dense student's basis is orthogonal. Both are ours.",
    "`blocks` (2 heads) and `lru` are ours; the LRU has the eigenvalues in log(-log) and log "
    "coordinates and a normalization with a weight for each.",
    "Concentration is the sum of the fourth powers of a unit eigenvector's entries: 1 on one "
    "coordinate, 1/P when spread evenly over all P.",
    "Some directions change nothing, because a scale of B undone in C leaves the function as it "
    "is: theirs are the eigenvalues that are 0 but for rounding. They are left out of the means.",
    "Most of the trailing end of the complex students' spectra is of this kind.",
]


def _settings(students, seeds, time, rows, leading):
    return {
        "students": students,
        "seeds": list(range(seeds)),
        "time": time,
        "rows": rows,
        "leading": leading,
        "pairs": 2,
        "moduli": [0.99, 0.993],
    }


_STUDENTS = ["dense", "blocks", "complex", "lru"]
SCALES = {
    "smoke": _settings(["dense", "complex"], 1, 12, 3, 2),
    "desk": _settings(_STUDENTS, 3, 300, 64, 5),
    "paper": _settings(_STUDENTS, 10, 300, 64, 5),
}


def cells(settings):
    """One for each student and seed."""
    shared = {key: settings[key] for key in ("time", "rows", "pairs", "moduli")}
    found = []
    for run in _experiment.grid(student=settings["students"], seed=settings["seeds"]):
        known = {**shared, **run}
        name = f"{run['student']}/seed{run['seed']}"
        found.append(_experiment.Cell(name, known, functools.partial(_measure, **known)))
    return found


def draw_teacher(pairs, moduli, seed):
    """(eigenvalues `[N/2]`, B `[N]`, C `[N]`, D) in coordinates where A has 2 x 2 rotations."""
    import numpy as np

    random = np.random.default_rng(seed)
    sizes = random.uniform(*moduli, size=pairs)
    values = sizes * np.exp(1j * random.uniform(0.0, math.pi, size=pairs))
    b, c = random.normal(size=[2, 2 * pairs])
    return values, b, c / math.sqrt(2 * pairs), random.normal()


def make_student(kind, teacher, seed):
    """A float64 layer that computes the teacher's function."""
    import numpy as np

    from rnnzoo import layers

    values, b, c, d = teacher
    options = {"return_sequences": True, "dtype": "float64", "form": "plain"}
    size = len(b)
    if kind in ("dense", "blocks"):
        heads = 1 if kind == "dense" else size // 2
        layer = layers.LinearRNN(1, heads, size, **options)
        weights = _real_weights(values, b, c, heads, seed)
    elif kind == "complex":
        layer = layers.ComplexRNN(1, size, **options)
        weights = _complex_weights(values, b, c)
    else:
        layer = layers.LRU(1, size, **options)
        weights = _lru_weights(values, b, c)
    layer.build((None, None, 1))
    layer.set_weights([*weights, np.array([d])])
    return layer


def _real_weights(values, b, c, heads, seed):
    import numpy as np

    n = len(b)
    a = np.zeros([n, n])
    for i, value in enumerate(values):
        rotation = [[value.real, -value.imag], [value.imag, value.real]]
        a[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = rotation
    if heads > 1:
        return [np.stack([a[i : i + 2, i : i + 2] for i in range(0, n, 2)]), b[:, None], c[None]]
    q, _ = np.linalg.qr(np.random.default_rng([seed, 1]).normal(size=[n, n]))
    return [(q @ a @ q.T)[None], (q @ b)[:, None], (c @ q.T)[None]]


def _complex_parts(values, b, c):
    """lambda, B, C of the pairs: a + ib of a rotation's two numbers is one complex state.

    Half of C for each of a pair, whose states are conjugates of one another.
    """
    import numpy as np

    b, c = b[::2] + 1j * b[1::2], (c[::2] - 1j * c[1::2]) / 2
    return tuple(np.concatenate([v, v.conj()]) for v in (values, b, c))


def _complex_weights(values, b, c):
    import numpy as np

    values, b, c = _complex_parts(values, b, c)
    parts = [b.real[:, None], b.imag[:, None], c.real[None], c.imag[None]]
    return [np.stack([values.real, values.imag]), *parts]


def _lru_weights(values, b, c):
    import numpy as np

    values, b, c = _complex_parts(values, b, c)
    gains = np.sqrt(1.0 - np.abs(values) ** 2)
    phases = np.angle(values) % (2 * math.pi)
    b = b / gains
    return [
        np.log(-np.log(np.abs(values))),
        np.log(phases),
        np.log(gains),
        *(b.real[:, None], b.imag[:, None], c.real[None], c.imag[None]),
    ]


def _measure(folder, console, *, student, seed, time, rows, pairs, moduli):
    """All eigenpairs on a batch whose targets are the student's own outputs."""
    import keras
    import numpy as np

    from rnnzoo import diagnostics

    layer = make_student(student, draw_teacher(pairs, moduli, seed), seed)
    model = keras.Sequential([keras.Input((time, 1), dtype="float64"), layer])
    x = np.random.default_rng([seed, 2]).normal(size=[rows, time, 1])
    found = diagnostics.hessian(model, (x, model(x).numpy()), half_squares, batch_size=rows)
    names = {path.split("/")[-1]: part for path, part in found.weights.items()}
    keras.backend.clear_session()
    return {
        "eigenvalues": found.eigenvalues.tolist(),
        "concentration": found.concentration.tolist(),
        "eigenvectors": found.eigenvectors.T.tolist(),
        "weights": {name: [part.start, part.stop] for name, part in names.items()},
    }


def half_squares(y, p):
    """Half the squared error of each step."""
    return 0.5 * (p - y)[..., 0] ** 2


def summarize(settings, results):
    """Spectra over seeds, and how concentrated the leading eigenvectors are."""
    import numpy as np

    leading, summary = settings["leading"], {}
    for student in settings["students"]:
        group = [results.get(f"{student}/seed{seed}") for seed in settings["seeds"]]
        if None in group:
            continue
        spectra = np.abs([result["eigenvalues"] for result in group])
        concentration = np.array([result["concentration"] for result in group])
        recurrent = [_recurrent_share(result, leading) for result in group]
        summary[student] = {
            "parameters": spectra.shape[1],
            "spectrum": np.exp(np.log(np.maximum(spectra, 1e-300)).mean(0)).tolist(),
            "largest": spectra[:, 0].tolist(),
            "counted": [int((s > 1e-12 * s[0]).sum()) for s in spectra],
            "leading_concentration": concentration[:, :leading].mean(1).tolist(),
            "evenly_spread": 1.0 / spectra.shape[1],
            "leading_share_of_recurrent_weights": recurrent,
            "concentration": concentration.tolist(),
            "vectors": np.abs(group[0]["eigenvectors"]).round(4).tolist(),
            "weights": group[0]["weights"],
        }
    return summary


_RECURRENT = ("A", "lambda_re_im", "nu_log", "theta_log")


def _recurrent_share(result, leading):
    """How much of the leading eigenvectors' squares lies on the recurrent weights."""
    import numpy as np

    squares = np.array(result["eigenvectors"][:leading]) ** 2
    parts = [squares[:, slice(*w)] for n, w in result["weights"].items() if n in _RECURRENT]
    return float(np.concatenate(parts, 1).sum(1).mean())


def draw(settings, summary):
    """Spectra, concentrations, and the eigenvectors of the first seed's models."""
    figure = _experiment.new_figure(4.2 * (2 + len(settings["students"])), 4.0)
    axes = figure.subplots(1, 2 + len(settings["students"]))
    for number, (student, found) in enumerate(summary.items()):
        ranks = range(1, found["parameters"] + 1)
        style = {"color": f"C{number}", "label": student}
        axes[0].semilogy(ranks, found["spectrum"], ".-", **style)
        for one, count in zip(found["concentration"], found["counted"]):
            axes[1].plot(range(1, count + 1), one[:count], ".-", alpha=0.6, **style)
            style.pop("label", None)
        _draw_vectors(axes[2 + number], student, found)
    axes[0].set(xlabel="rank", ylabel="|eigenvalue|, geometric mean", ylim=(1e-12, None))
    axes[1].set(xlabel="rank", ylabel=r"concentration $\sum_j v_j^4$")
    for panel in axes[:2]:
        if panel.lines:
            panel.legend(fontsize="x-small")
    return figure


def _draw_vectors(panel, student, found):
    panel.imshow(found["vectors"], aspect="auto", cmap="magma", vmin=0.0, vmax=1.0)
    ticks = {name: (start + stop - 1) / 2 for name, (start, stop) in found["weights"].items()}
    panel.set_xticks(list(ticks.values()), list(ticks), rotation=90, fontsize="x-small")
    for start, _ in found["weights"].values():
        panel.axvline(start - 0.5, color="w", linewidth=0.5)
    panel.set(title=f"{student}: |eigenvectors|", ylabel="rank")
