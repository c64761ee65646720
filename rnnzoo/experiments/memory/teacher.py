"""The linear teacher learned by an LRU and by a dense linear RNN, over the teacher's memory.

Both students see the same batches for the same number of steps; the learning rate of each is the
best of one grid for both, by the mean over seeds. The teacher has one seed; the others are those of
the student's first weights and of the data.
"""

from rnnzoo.experiments import _experiment
from rnnzoo.experiments.memory import _linear_students

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

_READ = "Zucchet & Orvieto (arXiv:2405.21064), figure 3A, from its authors' code and notebooks"
_CURVES = {
    "dense": {
        "0.36": 8e-9,
        "0.68": 1.2e-7,
        "0.84": 2e-5,
        "0.92": 9e-5,
        "0.96": 5e-4,
        "0.98": 4e-2,
        "0.99": 0.40,
    },
    "lru": {
        "0.36": 5e-8,
        "0.68": 1.3e-7,
        "0.84": 8e-7,
        "0.92": 2.4e-6,
        "0.96": 5e-6,
        "0.98": 4e-5,
        "0.99": 2.4e-5,
    },
}
PUBLISHED = [
    {
        "what": f"loss of the {name} student at nu_0 = {nu_0}",
        "value": value,
        "source": _READ,
        "confidence": "seen; read from pixels, within 10 % (20 % at 0.68)",
    }
    for name, curve in _CURVES.items()
    for nu_0, value in curve.items()
]
NOTES = [
    "Score: half the mean squared error, the mean over the last epoch's batches, which are new.",
    _linear_students.SHORT,
    "The teacher has the published distribution, not the published numbers. Its eigenvalues' "
    "moduli are nu_0 + (1 - nu_0) tanh|l| with nothing that keeps them from 1.",
    "First weights: the LRU's moduli from nu_0 to 1, the dense student's from 0, as published "
    "(which tells the LRU the teacher's time scales); `dense_nu_0` is the dense student with "
    "moduli from nu_0 as well, and `lru_from_0` an LRU without that knowledge.",
    "Published: B and C with standard deviation 1/sqrt(N) and 1; here 1/sqrt(2) and 1/sqrt(N), "
    "the layer's own. Published learning rates are of another grid for each student: 3.2e-3 to "
    "3.2e-5 (dense), 0.32 to 3.2e-3 (LRU); here they have one grid.",
    "smoke and desk have fewer steps, seeds, rates and nu_0: 10,000 steps, 10 seeds and seven nu_0 "
    "are published. Batches (128) and lengths (300) of desk are the published ones.",
]
_STUDENTS = {
    "dense": {"kind": "dense", "knows_nu_0": False},
    "lru": {"kind": "lru", "knows_nu_0": True},
    "dense_nu_0": {"kind": "dense", "knows_nu_0": True},
    "lru_from_0": {"kind": "lru", "knows_nu_0": False},
}


def _settings(nu_0, rates, seeds, students, **training):
    return {
        "nu_0": nu_0,
        "students": {name: _STUDENTS[name] for name in students},
        "learning_rates": rates,
        "seeds": list(range(seeds)),
        "training": training,
    }


_RATES = [0.32, 0.1, 0.032, 0.01, 0.0032, 0.001, 0.00032, 0.0001]
SCALES = {
    "smoke": _settings(
        [0.5],
        [0.01],
        1,
        ["dense", "lru"],
        size=8,
        length=20,
        batch=8,
        epochs=3,
        steps=10,
    ),
    "desk": _settings(
        [0.36, 0.84, 0.96, 0.99],
        _RATES,
        3,
        ["dense", "lru"],
        size=64,
        length=300,
        batch=128,
        epochs=20,
        steps=100,
    ),
    "paper": _settings(
        [0.36, 0.68, 0.84, 0.92, 0.96, 0.98, 0.99],
        [*_RATES, 0.000032],
        10,
        _STUDENTS,
        size=64,
        length=300,
        batch=128,
        epochs=100,
        steps=100,
    ),
}


def _runs(settings):
    return {
        f"nu{nu_0:g}/{name}": {
            "nu_0": nu_0,
            "kind": student["kind"],
            "r_min": nu_0 if student["knows_nu_0"] else 0.0,
        }
        for nu_0 in settings["nu_0"]
        for name, student in settings["students"].items()
    }


def cells(settings):
    """One for each teacher, student, learning rate and seed."""
    return _linear_students.cells(settings, _runs(settings))


def summarize(settings, results):
    """Each student's score at its best rate, over nu_0, and the dense one's over the LRU's."""
    length = settings["training"]["length"]
    summary = {"students": {}, "dense_over_lru": {}, "loss_of_zero": {}}
    for nu_0 in settings["nu_0"]:
        found = {
            name: _linear_students.summarize(settings, results, f"nu{nu_0:g}/{name}")
            for name in settings["students"]
        }
        key = f"{nu_0:g}"
        for name, entry in found.items():
            if entry is not None:
                published = _CURVES.get(name, {}).get(key)
                summary["students"].setdefault(name, {})[key] = {**entry, "published": published}
        losses = [(found.get(name) or {}).get("loss") for name in ("dense", "lru")]
        if None not in losses:
            summary["dense_over_lru"][key] = losses[0] / losses[1]
        summary["loss_of_zero"][key] = _linear_students.zero_loss(nu_0, length)
    return summary


def draw(settings, summary):
    """Loss against nu_0, with the published values, and the curves at the longest memory."""
    figure = _experiment.new_figure(11, 4.2)
    axes = figure.subplots(1, 2)
    for number, (name, by_nu) in enumerate(summary["students"].items()):
        shown = {float(nu): entry for nu, entry in by_nu.items() if entry["loss"] is not None}
        _draw_scores(axes[0], name, shown, f"C{number}")
        longest = shown.get(max(settings["nu_0"]))
        if longest is not None:
            steps = settings["training"]["steps"]
            at = [steps * (epoch + 1) for epoch in range(len(longest["curve"]))]
            label = f"{name}, rate {longest['learning_rate']:g}"
            axes[1].semilogy(at, longest["curve"], color=f"C{number}", label=label)
    zero = {float(nu): loss for nu, loss in summary["loss_of_zero"].items()}
    axes[0].plot([1 - nu for nu in zero], zero.values(), "k:", label="predicting 0")
    axes[0].set(xscale="log", yscale="log", xlabel=r"$1-\nu_0$ of the teacher", ylabel="loss")
    axes[0].invert_xaxis()
    axes[1].set(xlabel="optimizer steps", ylabel="loss", title=f"nu_0 = {max(settings['nu_0']):g}")
    for panel in axes:
        if panel.lines:
            panel.legend(fontsize="x-small")
    return figure


def _draw_scores(panel, name, by_nu, color):
    at = [1 - nu for nu in by_nu]
    losses = [entry["loss"] for entry in by_nu.values()]
    errors = [entry["standard_error"] for entry in by_nu.values()]
    panel.errorbar(at, losses, errors, marker="o", color=color, label=name)
    if name in _CURVES:
        published = {1 - float(nu): value for nu, value in _CURVES[name].items()}
        label = f"{name}, published"
        panel.plot(published.keys(), published.values(), "--", color=color, alpha=0.5, label=label)
