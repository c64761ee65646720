"""What makes the LRU learn long memory: from the dense linear RNN to it, one change at a time.

The teacher of `memory/teacher` with the longest memory. Every student sees the same batches for the
same number of steps, and its learning rate is the best of one grid for all. Beside the students
stand block-diagonal ones of one size with 1 to 32 heads, each also trained at one constant rate to
see what step Adam takes for the entries of A.
"""

import functools

from rnnzoo.experiments import _experiment
from rnnzoo.experiments.memory import _linear_students

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

_READ = "Zucchet & Orvieto (arXiv:2405.21064), figure 3B, from its authors' code and notebooks"
_VARIANTS = {
    "dense": 0.4,
    "blocks_32": 1.7e-5,
    "blocks_64_of_128": 2e-5,
    "complex": 4e-5,
    "complex_normalized": 2.2e-5,
    "lru": 2.4e-5,
}
_HEADS = {"1": 0.6, "2": 0.65, "4": 0.2, "8": 0.12, "16": 7e-5, "32": 1.8e-5}
PUBLISHED = [
    {"what": f"loss of {name}", "value": value, "source": _READ, "confidence": "seen; from pixels"}
    for name, value in {**_VARIANTS, **{f"{h} heads": v for h, v in _HEADS.items()}}.items()
] + [
    {
        "what": "effective learning rate of A over 1 to 32 heads",
        "value": "rises from 1e-6 to 1e-5 to about 1e-3",
        "source": _READ,
        "confidence": "seen; from pixels",
    }
]
NOTES = [
    "Score: half the mean squared error, the mean over the last epoch's batches, which are new.",
    _linear_students.SHORT,
    "First weights: moduli of blocks and of complex students are from nu_0 to 1, drawn as the "
    "LRU's, each block a normal matrix; the dense student has them from 0, as published, and "
    "`dense_nu_0` from nu_0, both drawn as the teacher's. `lru_from_0` is an LRU whose moduli are "
    "from 0 to 1. Where the published blocks begin is not known to us.",
    "The heads' students are all of 64 real states, so that with 1 head they are `dense_ring`, a "
    "dense matrix that is normal and begins from nu_0, and with 32 `blocks_32`.",
    "Effective learning rate: the step that Adam would take for each entry of A were the next "
    "gradient 1 everywhere, at the end of a training at the constant rate 1e-3; the mean of its "
    "modulus over the entries of the blocks.",
    "Published learning rates are of another grid for each student. 10,000 steps and 10 seeds are "
    "published; smoke and desk have fewer. Batches (128) and lengths (300) are the published ones.",
]


def _settings(nu_0, size, rates, seeds, heads, constant_epochs, **training):
    return {
        "nu_0": nu_0,
        "size": size,
        "heads": heads,
        "learning_rates": rates,
        "seeds": list(range(seeds)),
        "constant": {"learning_rate": 1e-3, "epochs": constant_epochs},
        "training": training,
    }


_SIZES = {"length": 300, "batch": 128, "steps": 100}
SCALES = {
    "smoke": _settings(0.5, 8, [0.01], 1, [1, 4], 1, length=20, batch=8, epochs=2, steps=5),
    "desk": _settings(
        0.99,
        64,
        [0.1, 0.032, 0.01, 0.0032, 0.001, 0.00032],
        2,
        [1, 4, 16, 32],
        20,
        epochs=20,
        **_SIZES,
    ),
    "paper": _settings(
        0.99,
        64,
        [0.32, 0.1, 0.032, 0.01, 0.0032, 0.001, 0.00032, 0.0001],
        10,
        [1, 2, 4, 8, 16, 32],
        100,
        epochs=100,
        **_SIZES,
    ),
}


def _runs(settings):
    """The students by name; those of the heads only where no other is the same."""
    size, nu_0 = settings["size"], settings["nu_0"]
    dense, ring = {"nu_0": nu_0, "size": size, "r_min": 0.0}, {"nu_0": nu_0, "r_min": nu_0}
    runs = {
        "dense": {**dense, "kind": "dense"},
        "dense_nu_0": {**dense, "kind": "dense", "r_min": nu_0},
        f"blocks_{size}_of_{2 * size}": {
            **ring,
            "kind": "blocks",
            "first": "ring",
            "size": 2 * size,
            "heads": size,
        },
        "complex": {**ring, "kind": "complex", "size": size},
        "complex_normalized": {**ring, "kind": "complex_normalized", "size": size},
        "lru": {**ring, "kind": "lru", "size": size},
        "lru_from_0": {**dense, "kind": "lru"},
    }
    for heads in settings["heads"]:
        blocks = {"kind": "blocks", "first": "ring", "size": size, "heads": heads}
        runs[f"heads{heads}"] = {**ring, **blocks}
    return runs


def cells(settings):
    """The trainings of every student, and those at a constant rate."""
    found = _linear_students.cells(settings, _runs(settings))
    sizes = {**settings["training"], **settings["constant"]}
    for one in _experiment.grid(heads=settings["heads"], seed=settings["seeds"]):
        student = {"nu_0": settings["nu_0"], "size": settings["size"], "first": "ring"}
        known = {**sizes, **student, **one}
        name = f"constant/heads{one['heads']}/seed{one['seed']}"
        found.append(_experiment.Cell(name, known, functools.partial(_constant_rate, **known)))
    return found


def _constant_rate(
    folder, console, *, nu_0, size, heads, first, seed, length, learning_rate, epochs, batch, steps
):
    """The step of Adam for the entries of A after a training at a constant rate."""
    import keras
    import numpy as np

    from rnnzoo import diagnostics

    layer = _linear_students.student("blocks", size, seed, nu_0, heads, first)
    adam = keras.optimizers.Adam(learning_rate)
    wanted = _linear_students.teacher(nu_0).response(length)
    sizes = {"batch": batch, "epochs": epochs, "steps": steps}
    result = _linear_students.train(layer, wanted, adam, seed=seed, **sizes)
    if "loss" in result:
        rates = diagnostics.effective_learning_rate(adam, "ones")[layer.cell.A.path]
        result["effective_learning_rate"] = float(np.mean(np.abs(rates)))
    keras.backend.clear_session()
    return result


def summarize(settings, results):
    """Every student's score at its best rate, and the steps for A, beside what is published."""
    summary = {"students": {}, "heads": {}}
    most = max(settings["heads"])
    names = {"dense_ring": "heads1", f"blocks_{most}": f"heads{most}"}
    own = [name for name in _runs(settings) if not name.startswith("heads")]
    for name in [*own, *names]:
        found = _linear_students.summarize(settings, results, names.get(name, name))
        if found is not None:
            summary["students"][name] = {**found, "published": _VARIANTS.get(name)}
    for heads in settings["heads"]:
        found = _linear_students.summarize(settings, results, f"heads{heads}")
        steps = [results.get(f"constant/heads{heads}/seed{seed}") for seed in settings["seeds"]]
        if found is not None and None not in steps:
            rates = [step.get("effective_learning_rate") for step in steps]
            summary["heads"][str(heads)] = {
                "loss": found["loss"],
                "learning_rate": found["learning_rate"] if found["loss"] is not None else None,
                "published": _HEADS.get(str(heads)),
                "effective_learning_rate": rates,
            }
    zero = _linear_students.zero_loss(settings["nu_0"], settings["training"]["length"])
    return {**summary, "loss_of_zero": zero}


def draw(settings, summary):
    """The losses of the students as bars; loss and effective learning rate over heads."""
    figure = _experiment.new_figure(14, 4.2)
    bars, heads, rates = figure.subplots(1, 3)
    shown = {n: s for n, s in summary["students"].items() if s["loss"] is not None}
    bars.barh(list(shown), [s["loss"] for s in shown.values()], color="C0", label="here")
    seen = {n: s["published"] for n, s in shown.items() if s["published"]}
    bars.plot(list(seen.values()), list(seen), "k|", markersize=16, label="published")
    bars.axvline(summary["loss_of_zero"], color="k", linestyle=":", label="predicting 0")
    bars.set(xscale="log", xlabel=f"loss, nu_0 = {settings['nu_0']:g}")
    bars.invert_yaxis()
    known = {int(h): found for h, found in summary["heads"].items()}
    losses = {h: found["loss"] for h, found in known.items() if found["loss"] is not None}
    heads.loglog(losses.keys(), losses.values(), "o-", label="here")
    published = {h: found["published"] for h, found in known.items() if found["published"]}
    heads.loglog(published.keys(), published.values(), "k--", label="published")
    steps = [
        (h, rate)
        for h, found in known.items()
        for rate in found["effective_learning_rate"]
        if rate is not None
    ]
    rates.loglog([h for h, _ in steps], [rate for _, rate in steps], "o")
    heads.set(xlabel="heads", ylabel="loss")
    rates.set(xlabel="heads", ylabel="Adam's step for an entry of A")
    for panel in (bars, heads):
        panel.legend(fontsize="x-small")
    return figure
