r"""Recurrent and truncated models, trained apart: how far apart their predictions are, against k.

All start from the same weights, see the same batches of a linear teacher's inputs and predict its
last output; plain SGD, with the stable layers' projections. Theorem 1 says that for a stable model
a k that grows with log(N / epsilon) keeps the predictions of the trained models within epsilon.
The gap is split at the recurrent model's weights w: what truncation alone does to its predictions
(lemma 1, with its bound), and what the other weights w_k add (proposition 2).
"""

import functools

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

PUBLISHED = [
    {
        "what": "theorem 1: the k that keeps the predictions within epsilon, rate alpha/t",
        "value": "grows with log(N / epsilon), for a fixed contraction",
        "source": "Miller & Hardt (arXiv:1805.10369)",
        "confidence": "recalled, not confirmed",
    },
    {
        "what": "truncated unstable models",
        "value": "diminishing returns in k",
        "source": "Miller & Hardt (arXiv:1805.10369)",
        "confidence": "recalled, not confirmed",
    },
]
NOTES = [
    "The theorem has no experiment of its own in what is known to us of the paper; task, sizes and "
    "rates are ours.",
    "The rate alpha/t is the theorem's; the constant rate is outside it, and is how one trains.",
    "SimpleRNN is Keras's, without constraints: nothing is promised for it.",
]
LAYERS = ("stable_rnn", "stable_lstm", "simple_rnn")


def _settings(layers, ks, seeds, steps, time, units, batch_size, test_size):
    return {
        "layers": layers,
        "k": ks,
        "seeds": seeds,
        "rates": [["over_t", 0.3], ["constant", 0.05]],
        "contraction": 0.95,
        "steps": steps,
        "time": time,
        "units": units,
        "batch_size": batch_size,
        "test_size": test_size,
        "nu_0": 0.8,
    }


SCALES = {
    "smoke": _settings(["stable_rnn"], [1, 4, 12], [0], 5, 12, 4, 4, 16),
    "desk": _settings(list(LAYERS), [1, 2, 4, 8, 16, 32], [0, 1], 600, 64, 32, 32, 512),
    "paper": _settings(
        list(LAYERS), [1, 2, 4, 8, 16, 32, 64, 96], list(range(10)), 20_000, 128, 128, 64, 2_048
    ),
}


def cells(settings):
    """One for each layer, rate and seed: the recurrent model and its truncations, all trained."""
    shared = ("k", "contraction", "steps", "time", "units", "batch_size", "test_size", "nu_0")
    found = []
    for run in _experiment.grid(
        layer=settings["layers"], rate=settings["rates"], seed=settings["seeds"]
    ):
        schedule, alpha = run["rate"]
        known = {"layer": run["layer"], "schedule": schedule, "alpha": alpha, "seed": run["seed"]}
        known |= {key: settings[key] for key in shared}
        name = f"{_name(run['layer'], run['rate'])}/seed{run['seed']}"
        found.append(_experiment.Cell(name, known, functools.partial(_compare, **known)))
    return found


def _name(layer, rate):
    return f"{layer}/{rate[0]}{rate[1]:g}"


def _compare(folder, console, *, k, seed, steps, batch_size, test_size, schedule, alpha, **options):
    """Train all models; the gaps of their predictions on the test set, and of their weights."""
    import keras
    import numpy as np

    from rnnzoo import diagnostics, tasks

    keras.utils.set_random_seed(seed)
    task = tasks.get(
        "teacher_student",
        nu_0=options.pop("nu_0"),
        length=options["time"],
        train_size=steps * batch_size,
        test_size=test_size,
        batch_size=batch_size,
        seed=seed,
    )
    x, y = task.arrays("test")
    first = _model(None, **options)
    start = first.get_weights()
    recurrent, *truncated = [_model(last, **options) for last in (None, *k)]
    for model in (recurrent, *truncated):
        model.set_weights(start)
        task.epoch = 0  # the same batches for each
        _train(
            model, task.train, (lambda t: alpha / t) if schedule == "over_t" else lambda t: alpha
        )
    trained = recurrent.get_weights()
    expected = recurrent.predict(x, verbose=0)
    result = {"baseline": float(np.mean(y[:, -1] ** 2) / 2), "loss": _half_square(expected, y)}
    rows = []
    for model, last in zip(truncated, k):
        own = model.predict(x, verbose=0)
        row = {"k": last, "loss": _half_square(own, y), "gap": float(np.mean(abs(own - expected)))}
        row["largest_gap"] = float(np.max(abs(own - expected)))
        row["weight_gap"] = diagnostics.weight_gap(recurrent, model).total
        model.set_weights(trained)
        alone = abs(model.predict(x, verbose=0) - expected)
        row |= {"truncation": float(np.mean(alone)), "largest_truncation": float(np.max(alone))}
        row["truncation_bound"] = _bound(recurrent, last)
        rows.append(row)
    moved = sum(float(np.sum((a - b) ** 2)) for a, b in zip(start, trained)) ** 0.5
    keras.backend.clear_session()
    return {**result, "weights_moved": moved, "rows": rows, "contraction": _contraction(recurrent)}


def _model(last, *, layer, units, contraction, time):
    """The recurrent layer, truncated to the `last` steps where these are given, and a head."""
    import keras

    from rnnzoo import layers

    made = {
        "stable_rnn": lambda: layers.StableRNN(units, contraction=contraction, form="adjoint"),
        "stable_lstm": lambda: layers.StableLSTM(
            units, contraction=contraction, input_bound=3.0, form="adjoint"
        ),
        "simple_rnn": lambda: keras.layers.SimpleRNN(units),
    }[layer]()
    body = made if last is None else layers.TruncatedWrapper(made, last)
    return keras.Sequential([keras.Input((time, 1)), body, keras.layers.Dense(1)])


def _train(model, batches, rate):
    """Plain SGD on half the squared error of the last output; constraints hold after each step."""
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(model.trainable_variables)
    variables = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False, reduce_retracing=True)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y[:, -1]) ** 2) / 2
        optimizer.apply(tape.gradient(loss, variables), model.trainable_variables)

    for number, (x, y) in enumerate(batches, 1):
        optimizer.learning_rate = rate(number)
        step(x, y)


def _half_square(predicted, y):
    return float(((predicted - y[:, -1]) ** 2).mean() / 2)


def _contraction(model):
    layer = model.layers[0]
    return layer.contraction() if hasattr(layer, "contraction") else None


def _bound(model, k):
    """Of what truncation to k steps does to a prediction: |head| lambda^k S; None without one."""
    import numpy as np

    from rnnzoo.layers import StableLSTM

    contraction = _contraction(model)
    if contraction is None:
        return None
    layer, head = model.layers[0], model.layers[-1].get_weights()[0]
    if isinstance(layer, StableLSTM):
        return float(np.abs(head).sum() * contraction**k / (1.0 - layer.forget_bound))
    return float(np.linalg.norm(head) * contraction**k * np.sqrt(layer.units))


def summarize(settings, results):
    """Means over seeds for each layer and rate."""
    summary = {}
    for run in _experiment.grid(layer=settings["layers"], rate=settings["rates"]):
        name = _name(run["layer"], run["rate"])
        group = [results.get(f"{name}/seed{seed}") for seed in settings["seeds"]]
        if None not in group:
            summary[name] = _mean(group)
    return summary


def _mean(group):
    import numpy as np

    def mean(values):
        return None if None in values else float(np.mean(values))

    rows = [
        {key: mean([row[key] for row in same]) for key in same[0]}
        for same in zip(*(result["rows"] for result in group))
    ]
    for row in rows:
        row["k"] = int(row["k"])
    singles = ("baseline", "loss", "weights_moved", "contraction")
    within = [
        row["largest_truncation"] / row["truncation_bound"]
        for result in group
        for row in result["rows"]
        if row["truncation_bound"]
    ]
    return {
        **{key: mean([result[key] for result in group]) for key in singles},
        "largest_truncation_over_bound": max(within, default=None),
        "rows": rows,
    }


def draw(settings, summary):
    """For each layer the gap of predictions, its part at equal weights, and the weights' gap."""
    shown = [la for la in settings["layers"] if any(n.startswith(f"{la}/") for n in summary)]
    figure = _experiment.new_figure(4.4 * max(1, len(shown)), 3.8)
    panels = figure.subplots(1, max(1, len(shown)), squeeze=False, sharey=True)[0]
    lines = {
        "gap": ("-", "predictions"),
        "truncation": ("--", "predictions, equal weights"),
        "weight_gap": (":", "weights"),
    }
    for panel, layer in zip(panels, shown):
        for number, rate in enumerate(settings["rates"]):
            rows = summary.get(_name(layer, rate), {"rows": []})["rows"]
            label = f"rate {rate[1]:g}/t" if rate[0] == "over_t" else f"rate {rate[1]:g}"
            for key, (style, words) in lines.items() if rows else ():
                values = [row[key] for row in rows]
                at = [row["k"] for row in rows]
                panel.loglog(at, values, style, color=f"C{number}", label=f"{words}, {label}")
        panel.set(title=layer, xlabel="k")
    panels[0].set_ylabel("gap, mean over test sequences")
    if panels[0].lines:
        panels[0].legend(fontsize="x-small")
    return figure
