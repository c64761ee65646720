r"""Gradient gap and weight distance of truncated models on random Gaussian instances.

The recurrent model and its truncations to k steps start from the same weights and see the same
samples, one new sequence of Gaussian inputs with an independent target a step:

    w <- w - rate(t) * gradient,   W <- its projection onto the 2-norm ball of radius lambda

The gradient gap is measured at the recurrent model's weights. Beside it stands
gamma k lambda^k, with the constant derived in `_gaussian_instances`, and beside
the weights' distance proposition 2, alpha gamma k lambda^k N^(alpha beta + 1), with the same gamma
and with the largest beta that was seen: an upper bound of the gradient's Lipschitz constant is not
known for this model, so the second curve is no proven bound.
"""

import functools

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

_SEEN = "Miller's slides on Stable Recurrent Models"
_RECALLED = "Miller & Hardt (arXiv:1805.10369), figure 1"
PUBLISHED = [
    {"what": what, "value": value, "source": _RECALLED, "confidence": "recalled, not confirmed"}
    for what, value in (
        ("units and input features", 32),
        ("contraction", 0.75),
        ("inputs", "N(0, 4 I)"),
        ("targets", "U[-2, 2]"),
        ("sequence length, k, steps, learning rate", "not known"),
    )
] + [
    {"what": what, "value": value, "source": _SEEN, "confidence": "seen there"}
    for what, value in (
        ("gradient gap (lemma 2)", "gamma k lambda^k, gamma = O(B_x (1 - lambda)^-2)"),
        (
            "weight distance (proposition 2)",
            "alpha gamma k lambda^k N^(alpha beta + 1), beta = O((1 - lambda)^-3), rate alpha/t",
        ),
        ("without the rate's 1/t", "the bound no longer looks right"),
    )
]
NOTES = [
    "The paper's sizes are recalled, not confirmed; its sequence length, k, number of steps and "
    "learning rates are not known, nor whether each step has a new sample. Ours are choices.",
    "The readout is fixed and the loss is on the last step alone. Whether the paper's is is not "
    "known.",
    "gamma is derived here and is a bound; beta in the bound of the weights is the largest one "
    "measured between the two weights of a pair, and is not.",
]


def _settings(seeds, time, ks, steps, contractions):
    return {
        "seeds": list(range(seeds)),
        "units": 32,
        "features": 32,
        "input_sd": 2.0,
        "target_bound": 2.0,
        "time": time,
        "k": ks,
        "steps": steps,
        "contractions": contractions,
        "rates": [["over_t", 0.1], ["constant", 0.01], ["constant", 0.03]],
    }


_KS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
SCALES = {
    "smoke": _settings(2, 16, [1, 2, 4, 8], 20, [0.75]),
    "desk": _settings(10, 64, _KS, 2_000, [0.75, 0.95]),
    "paper": _settings(50, 128, [*_KS, 48, 64], 20_000, [0.5, 0.75, 0.95]),
}


def cells(settings):
    """One for each contraction and rate; all seeds and all k run side by side."""
    shared = {key: settings[key] for key in settings if key not in ("contractions", "rates")}
    found = []
    for run in _experiment.grid(contraction=settings["contractions"], rate=settings["rates"]):
        kind, alpha = run["rate"]
        known = {**shared, "contraction": run["contraction"], "schedule": kind, "alpha": alpha}
        name = _name(run["contraction"], run["rate"])
        found.append(_experiment.Cell(name, known, functools.partial(_descend, **known)))
    return found


def _name(contraction, rate):
    return f"contraction{contraction:g}/{rate[0]}{rate[1]:g}"


def _descend(folder, console, *, steps, **options):
    """Gradient descent of all models; what was measured at some 25 steps, equally far in log."""
    import numpy as np

    run = _Run(**options)
    shown = np.unique(np.round(np.geomspace(1, steps, min(steps, 25))).astype(int))
    distances = []
    for step in range(1, steps + 1):
        run.step(step)
        if step in shown:
            distances.append(run.distance)
    distances = np.array(distances)  # [steps, S, K]
    return {
        "steps": shown.tolist(),
        "distance": distances.mean(1).T.tolist(),
        "distance_sd_of_seeds": distances.std(1).T.tolist(),
        "gap": (run.gap_sum / steps).mean(0).tolist(),
        "largest_gap": run.gap_max.max(0).tolist(),
        "gradient_norm": float(run.norm_sum / steps),
        "gamma": float(run.gamma),
        "largest_gap_over_bound": float(run.over_bound),
        "beta": run.beta.max(0).tolist(),
    }


class _Run:
    """The weights of every instance and model, [S, K, ...], the recurrent model last."""

    def __init__(
        self, seeds, units, features, input_sd, target_bound, time, k, contraction, schedule, alpha
    ):
        import numpy as np

        from rnnzoo.experiments.stable import _gaussian_instances

        self.maths, self.np = _gaussian_instances, np
        self.random = [np.random.default_rng(seed) for seed in seeds]
        drawn = self.maths.draw(self.random, units, features, contraction)
        self.last = [*k, time]
        self.recurrent = np.repeat(drawn.recurrent, len(self.last), 1)
        self.kernel = np.repeat(drawn.kernel, len(self.last), 1)
        self.readout = drawn.readout
        self.contraction, self.input_sd, self.target_bound = contraction, input_sd, target_bound
        self.shape, self.units = (time, features), units
        self.rate = (lambda t: alpha / t) if schedule == "over_t" else (lambda t: alpha)
        self.scale = np.array(k) * contraction ** np.array(k)  # k lambda^k
        self.gap_sum, self.gap_max, self.beta = (np.zeros((len(seeds), len(k))) for _ in range(3))
        self.gamma = self.over_bound = self.norm_sum = 0.0
        self.distance = None

    def step(self, number):
        np, bound = self.np, self.target_bound
        x = np.stack([r.normal(size=self.shape) for r in self.random]) * self.input_sd
        y = np.array([r.uniform(-bound, bound) for r in self.random])
        own = self.maths.gradients(self.recurrent, self.kernel, self.readout, x, y, self.last)
        shared = self.recurrent[:, -1:], self.kernel[:, -1:]
        same = self.maths.gradients(*shared, self.readout, x, y, self.last)
        self._measure(own, same, x, y)
        rate = self.rate(number)
        self.recurrent = self.maths.project(self.recurrent - rate * own[0], self.contraction)
        self.kernel = self.kernel - rate * own[1]
        self.distance = self._apart((self.recurrent, self.kernel))

    def _measure(self, own, same, x, y):
        """The gaps at the recurrent weights, their bound, and the gradients' Lipschitz constant."""
        np = self.np
        gap = self._apart(same)
        gamma = self.maths.gap_constants(
            np.linalg.norm(self.kernel[:, -1], axis=(-1, -2)),
            np.linalg.norm(self.readout[:, 0], axis=-1),
            np.linalg.norm(x, axis=-1).max(-1),
            np.abs(y),
            self.units,
            self.contraction,
        )
        self.gamma = max(self.gamma, gamma.max())
        self.over_bound = max(self.over_bound, (gap / (gamma[:, None] * self.scale)).max())
        self.gap_sum += gap
        self.gap_max = np.maximum(self.gap_max, gap)
        self.norm_sum += np.sqrt(sum((g[:, -1] ** 2).sum((-1, -2)) for g in same)).mean()
        if self.distance is not None:
            moved = sum(((a - b) ** 2).sum((-1, -2)) for a, b in zip(own, same))[:, :-1] ** 0.5
            # Below that rounding is what differs.
            far = self.distance > 1e-9
            ratio = np.divide(moved, self.distance, out=np.zeros_like(moved), where=far)
            self.beta = np.maximum(self.beta, ratio)

    def _apart(self, pair):
        """The distance of every truncated model's part from the recurrent one's, [S, K]."""
        squares = sum(((part - part[:, -1:]) ** 2).sum((-1, -2)) for part in pair)
        return squares[:, :-1] ** 0.5


def summarize(settings, results):
    """Each cell's curves, the bounds beside them, and the decay for each further step of k."""
    summary = {}
    for run in _experiment.grid(contraction=settings["contractions"], rate=settings["rates"]):
        name = _name(run["contraction"], run["rate"])
        if name in results:
            summary[name] = _beside(settings, run["contraction"], run["rate"][1], results[name])
    return summary


def _beside(settings, contraction, alpha, result):
    ks, last = settings["k"], result["steps"][-1]
    scale = [k * contraction**k for k in ks]
    exponent = alpha * max(result["beta"]) + 1.0
    final = [curve[-1] for curve in result["distance"]]
    return {
        **{key: value for key, value in result.items() if key != "distance_sd_of_seeds"},
        "gap_bound": [result["gamma"] * s for s in scale],
        "fitted_gamma": max(g / s for g, s in zip(result["largest_gap"], scale)),
        "exponent_of_n": exponent,
        "proposition_2": [alpha * result["gamma"] * s * last**exponent for s in scale],
        "final_distance": final,
        "gap_decay_per_step": _decay(ks, result["gap"]),
        "distance_decay_per_step": _decay(ks, final),
        "distance_growth": [_growth(result["steps"], curve) for curve in result["distance"]],
    }


def _decay(ks, values):
    """The geometric rate of values against k, by least squares in log; None of fewer than two."""
    import numpy as np

    kept = [(k, v) for k, v in zip(ks, values) if v > 1e-12 * max(values)]
    if len(kept) < 2:
        return None
    return float(np.exp(np.polyfit([k for k, _ in kept], np.log([v for _, v in kept]), 1)[0]))


def _growth(steps, values):
    """The exponent of N in the second half (in log) of a curve; None where nothing moves."""
    import numpy as np

    half = len(steps) // 2
    if not min(values[half:]) > 0.0:
        return None
    return float(np.polyfit(np.log(steps[half:]), np.log(values[half:]), 1)[0])


def draw(settings, summary):
    """Gradient gap against k, weight distance against k, and against the number of steps."""
    rows = [
        c
        for c in settings["contractions"]
        if any(n.startswith(f"contraction{c:g}/") for n in summary)
    ]
    figure = _experiment.new_figure(13, 3.8 * max(1, len(rows)))
    grid = figure.subplots(max(1, len(rows)), 3, squeeze=False)
    for axes, contraction in zip(grid, rows):
        for number, rate in enumerate(settings["rates"]):
            found = summary.get(_name(contraction, rate))
            if found is not None:
                _draw_run(axes, settings["k"], contraction, rate, found, f"C{number}")
        axes[0].set(title=f"contraction {contraction:g}", xlabel="k", ylabel="gradient gap, mean")
        axes[1].set(xlabel="k", ylabel="distance of weights at the end")
        axes[2].set(xlabel="N", ylabel="distance of weights")
        axes[0].set_ylim(bottom=1e-14)
        axes[1].set_ylim(bottom=1e-14)
        for panel in axes:
            panel.legend(fontsize="x-small", loc="lower left")
        axes[2].legend(fontsize="x-small", loc="upper left")
    return figure


def _draw_run(axes, ks, contraction, rate, found, color):
    kind, alpha = rate
    label = f"rate {alpha:g}/t" if kind == "over_t" else f"rate {alpha:g}"
    positive = {"nonpositive": "mask"}
    axes[0].semilogy(ks, found["gap"], "o-", color=color, label=label, **positive)
    if color == "C0":
        fitted = [found["fitted_gamma"] * k * contraction**k for k in ks]
        axes[0].semilogy(ks, found["gap_bound"], "k--", label=r"bound $\gamma k\lambda^k$")
        axes[0].semilogy(ks, fitted, "k:", label=r"$k\lambda^k$ above the largest gap")
    axes[1].semilogy(ks, found["final_distance"], "o-", color=color, label=label, **positive)
    axes[1].semilogy(ks, found["proposition_2"], "--", color=color, label=f"proposition 2, {label}")
    for i, style in ((0, "-"), (min(3, len(ks) - 1), "--")):
        axes[2].loglog(
            found["steps"][1:],
            found["distance"][i][1:],
            style,
            color=color,
            label=f"{label}, k = {ks[i]}",
        )
