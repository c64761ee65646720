r"""How far the state of a truncated model is from the recurrent one, against k, and its bound.

$$\|s_T - s_T^k\| \le \lambda^k \|s_{T-k}\| \le \lambda^k S$$

for a step that contracts by lambda = `layer.contraction()`, with states s from 0, windows of k
steps that begin at 0, and S a bound on every state. In the norm in which the layer contracts: the
sup-norm of (h, c) for StableLSTM, the 2-norm for StableRNN and for LRU's complex states. Float64.

The weights are those that the layer starts with, and adversarial ones: gradient ascent on the error
of one k, under the layer's own constraints, to see how tight the bound can be made.
"""

import functools

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

ROUNDING = 1e-13  # errors below this share of the largest say nothing: float64 ends there

PUBLISHED = [
    {
        "what": "state error of a truncated model (lemma 1)",
        "value": "falls as lambda^k",
        "source": "Miller & Hardt (arXiv:1805.10369); follows from the definition of stability",
        "confidence": "recalled, not confirmed; the inequality used here is derived",
    }
]
NOTES = [
    "The paper has no figure of this lemma that is known to us: layers, sizes and inputs are ours.",
    "The error is the largest over the sequences. Inputs are Gaussian, cut at three standard "
    "deviations, and scaled by `input_scale`.",
    "LRU has no adversarial weights: it is linear, its error falls as its eigenvalues' powers "
    "whatever they are.",
    "StableLSTM clips its inputs to [-1, 1], its default input_bound; the others see them whole.",
    f"Errors below {ROUNDING:g} of a run's largest one are float64's rounding and are not held "
    "against the bound.",
    "S is sqrt(units) or (|kernel| |x| + |bias|) / (1 - lambda), whichever is less, for StableRNN; "
    "1 / (1 - forget_bound) for StableLSTM; |B| |x| / (1 - lambda) for LRU.",
]
_VARIANTS = [
    ["stable_rnn", "initial"],
    ["stable_rnn", "adversarial"],
    ["stable_lstm", "initial"],
    ["stable_lstm", "adversarial"],
    ["lru", "initial"],
]


def _settings(variants, contractions, scales, seeds, k, ascent, **sizes):
    return {
        "variants": variants,
        "contractions": contractions,
        "input_scales": scales,
        "seeds": seeds,
        "k": k,
        "ascent": ascent,
        **sizes,
    }


_SIZES = {"units": 32, "features": 8, "time": 256, "sequences": 64}
_ASCENT = {"k": 16, "time": 48, "steps": 200, "learning_rate": 0.01, "sequences": 16}
_KS = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128]
SCALES = {
    "smoke": _settings(
        [_VARIANTS[1], _VARIANTS[4]],
        [0.8],
        [1.0],
        [0],
        [1, 2, 8],
        {"k": 3, "time": 6, "steps": 3, "learning_rate": 0.01, "sequences": 4},
        units=4,
        features=2,
        time=16,
        sequences=4,
    ),
    "desk": _settings(_VARIANTS, [0.75, 0.95], [0.1, 1.0], [0, 1], _KS, _ASCENT, **_SIZES),
    "paper": _settings(
        _VARIANTS,
        [0.75, 0.9, 0.95, 0.99],
        [0.01, 0.1, 1.0],
        list(range(10)),
        [*_KS, 192, 256, 384],
        {**_ASCENT, "steps": 2_000},
        **{**_SIZES, "units": 256, "time": 768},
    ),
}


def cells(settings):
    """One for each kind of layer and weights, contraction, scale of the inputs, and seed."""
    found = []
    grid = _experiment.grid(
        variant=settings["variants"],
        contraction=settings["contractions"],
        input_scale=settings["input_scales"],
        seed=settings["seeds"],
    )
    for run in grid:
        layer, weights = run.pop("variant")
        ascent = settings["ascent"] if weights == "adversarial" else None
        sizes = {key: settings[key] for key in ("units", "features", "time", "sequences", "k")}
        known = {"layer": layer, "weights": weights, **run, **sizes, "ascent": ascent}
        name = f"{_name(layer, weights, run['contraction'], run['input_scale'])}/seed{run['seed']}"
        found.append(_experiment.Cell(name, known, functools.partial(_measure, **known)))
    return found


def _name(layer, weights, contraction, scale):
    return f"{layer}/{weights}/contraction{contraction:g}/scale{scale:g}"


def _measure(folder, console, *, k, weights, ascent, seed, sequences, time, **model):
    """The largest error of each k over the sequences, and what bounds it."""
    import keras
    import numpy as np

    from rnnzoo.layers import TruncatedWrapper

    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    layer = _layer(model["layer"], model["units"], model["contraction"])
    shape = (time, model["features"])

    def draw_inputs(rows):
        drawn = np.clip(random.normal(size=(rows, *shape)), -3.0, 3.0)
        return drawn * model["input_scale"]

    layer.build((None, *shape))
    if ascent is not None:
        _ascend(layer, lambda: draw_inputs(ascent["sequences"])[:, : ascent["time"]], ascent)
    x = draw_inputs(sequences)
    whole = _state(layer(x))
    errors, before = [], []
    for steps in k:
        window = _state(TruncatedWrapper(layer, steps)(x))
        errors.append(_norm(layer, whole - window).max())
        before.append(_norm(layer, _state(layer(x[:, :-steps]))).max())
    found = layer.contraction()
    keras.backend.clear_session()
    return {
        "contraction": found,
        "error": [float(e) for e in errors],
        "state_before": [float(s) for s in before],
        "state_bound": float(_state_bound(layer, np.linalg.norm(x, axis=-1).max(), found)),
    }


def _layer(kind, units, contraction):
    from rnnzoo import layers

    shared = {"return_state": True, "dtype": "float64", "form": "adjoint"}
    if kind == "lru":
        ring = {"r_min": 0.9 * contraction, "r_max": contraction, "state_size": units}
        return layers.LRU(units, **ring, **shared)
    kinds = {"stable_rnn": layers.StableRNN, "stable_lstm": layers.StableLSTM}
    return kinds[kind](units, contraction=contraction, **shared)


def _state(outputs):
    """All states side by side, [B, S]."""
    import numpy as np

    return np.concatenate([np.asarray(state) for state in outputs[1:]], axis=-1)


def _norm(layer, states):
    import numpy as np

    from rnnzoo.layers import StableLSTM

    return np.linalg.norm(states, np.inf if isinstance(layer, StableLSTM) else 2, axis=-1)


def _state_bound(layer, input_norm, contraction):
    """A bound on the norm of every state."""
    import numpy as np

    from rnnzoo.layers import StableLSTM, StableRNN

    if isinstance(layer, StableLSTM):
        return 1.0 / (1.0 - layer.forget_bound)
    if isinstance(layer, StableRNN):
        kernel, _, bias = layer.get_weights()
        driven = np.linalg.norm(kernel, 2) * input_norm + np.linalg.norm(bias)
        return min(np.sqrt(layer.units), driven / (1.0 - contraction))
    _, _, kernel, _, _ = layer.cell.matrices()
    return np.linalg.norm(np.asarray(kernel), 2) * input_norm / (1.0 - contraction)


def _ascend(layer, draw_inputs, ascent):
    """Adam on the weights, against the mean log of the truncation error; constraints hold."""
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.Adam(ascent["learning_rate"])
    optimizer.build(layer.trainable_variables)
    variables = [v.value for v in layer.trainable_variables]

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            # training=True for the hand-written adjoint: there is no dropout here.
            whole = tf.concat(layer(x, training=True)[1:], -1)
            window = tf.concat(layer(x[:, -ascent["k"] :], training=True)[1:], -1)
            squares = tf.reduce_sum((whole - window) ** 2, -1)
            loss = -tf.reduce_mean(tf.math.log(squares + 1e-300))
        optimizer.apply(tape.gradient(loss, variables), layer.trainable_variables)

    for _ in range(ascent["steps"]):
        step(tf.constant(draw_inputs()))


def summarize(settings, results):
    """Means over seeds; the largest error beside its bound, and its decay for each step of k."""
    summary = {}
    for run in _experiment.grid(
        variant=settings["variants"],
        contraction=settings["contractions"],
        scale=settings["input_scales"],
    ):
        name = _name(*run["variant"], run["contraction"], run["scale"])
        group = [results.get(f"{name}/seed{seed}") for seed in settings["seeds"]]
        if None not in group:
            summary[name] = _mean(settings["k"], group)
    return summary


def _mean(ks, group):
    import numpy as np

    decays, ratios, before = [], [], []
    for result in group:
        power = result["contraction"] ** np.array(ks)
        error, bound = np.array(result["error"]), power * result["state_bound"]
        error = np.where(error > ROUNDING * error.max(), error, np.nan)
        ratios.append(error / bound)
        before.append(error / (power * np.array(result["state_before"])))
        decays.append(_decay(ks, error))
    bounds = [r["state_bound"] * r["contraction"] ** np.array(ks) for r in group]
    errors = np.mean([r["error"] for r in group], 0)
    return {
        "contraction": [r["contraction"] for r in group],
        "error": errors.tolist(),
        "bound": np.mean(bounds, 0).tolist(),
        "largest_error_over_bound": float(np.nanmax(ratios)),
        "largest_error_over_bound_of_measured_state": float(np.nanmax(before)),
        "decay_per_step": None if None in decays else float(np.mean(decays)),
    }


def _decay(ks, errors):
    """The geometric rate of the errors over the last half of the k, or None."""
    import numpy as np

    kept = [(k, e) for k, e in zip(ks, errors) if e > 0.0]
    if len(kept) < 2:
        return None
    (k0, e0), (k1, e1) = kept[len(kept) // 2 - 1], kept[-1]
    return float(np.exp(np.log(e1 / e0) / (k1 - k0)))


def draw(settings, summary):
    """Error (solid) and bound (dashed) against k: a row a contraction, a column a layer."""
    layers = list(dict.fromkeys(layer for layer, _ in settings["variants"]))
    rows = settings["contractions"]
    figure = _experiment.new_figure(4.4 * len(layers), 3.4 * len(rows))
    grid = figure.subplots(len(rows), len(layers), squeeze=False)
    for axes, contraction in zip(grid, rows):
        for panel, layer in zip(axes, layers):
            _draw_panel(panel, settings, summary, layer, contraction)
    return figure


def _draw_panel(panel, settings, summary, layer, contraction):
    number = 0
    for kind, weights in settings["variants"]:
        for scale in settings["input_scales"] if kind == layer else ():
            found = summary.get(_name(layer, weights, contraction, scale))
            if found is not None:
                style = {"color": f"C{number}", "nonpositive": "mask"}
                label = f"{weights} weights, inputs {scale:g}"
                panel.semilogy(settings["k"], found["error"], ".-", label=label, **style)
                panel.semilogy(settings["k"], found["bound"], "--", **style)
            number += 1
    panel.set(title=f"{layer}, contraction {contraction:g}", xlabel="k", ylabel="state error")
    panel.set_ylim(bottom=1e-17)
    if panel.lines:
        panel.legend(fontsize="x-small", title="dashed: bound", title_fontsize="x-small")
