r"""How large signals and gradients are in deep recurrent models, over their time scales.

Blocks of norm, recurrent layer, GELU, norm, GLU and skip, between linear maps, predict the next
input. The recurrent layer is a `ComplexRNN` (no normalization), an `LRU` or a GRU, whose units
begin with time scales from tau to 2 tau. Nothing is trained: what is measured are the mean squares
of states, outputs, and the loss's gradients by outputs and by recurrent weights, layer by layer.
"""

import functools

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize"]

FILE = "bert_embeddings.npy"
_SOURCE = "Zucchet & Orvieto (arXiv:2405.21064), the section on deep models, and its code"
PUBLISHED = [
    {"what": what, "value": value, "source": _SOURCE, "confidence": confidence}
    for what, value, confidence in (
        (
            "setting",
            "width 256, 4 blocks, BERT embeddings of length 512 in batches of 16; |lambda| in "
            "[1 - 1/tau, 1 - 1/(2 tau)], update gate's bias log U[tau, 2 tau], tau from 1 to 100",
            "seen",
        ),
        (
            "growth of the complex RNN's gradient by lambda, tau from 1 to 100",
            "more than 10 orders of magnitude",
            "seen; from a figure, rough",
        ),
        (
            "growth of the LRU's gradient by the angle",
            "about 3 orders of magnitude",
            "seen; from a figure, rough",
        ),
        ("the LRU's gradient by nu, and the GRU's", "flat", "seen; from a figure, rough"),
        ("autocorrelation of the embeddings", "0.044 0.997^d, and a white part of 0.332", "seen"),
    )
]
NOTES = [
    f"Inputs are those of a file {FILE}, [rows, steps, features], in the data folder (see the "
    "README on RNNZOO_DATA_DIR), if there is one; else Gaussian numbers with the autocorrelation "
    "published of the embeddings, independent over features.",
    "The loss is the mean squared error of the next input. The published code compares the "
    "predictions with the inputs before them.",
    "Batch norm: the measured gradients are those of its inference form, with the statistics of "
    "the same batch, without the part that runs through the statistics.",
    "GRU: the gradient shown is that by the recurrent kernel; the complex RNN's that by the real "
    "and imaginary parts of lambda.",
    "Gradients are of the mean over all steps and entries of a batch, so their size depends on "
    "sizes; the growth over tau does not.",
]


def _settings(kinds, taus, seeds, **sizes):
    return {"kinds": kinds, "tau": taus, "seeds": list(range(seeds)), **sizes}


_KINDS = [
    ["complex", None],
    ["complex", "batch"],
    ["complex", "layer"],
    ["lru", "layer"],
    ["gru", "layer"],
]
_TAUS = [1.0, 3.1623, 10.0, 31.623, 100.0]
SCALES = {
    "smoke": _settings(
        [["lru", "layer"]], [1.0, 10.0], 1, width=4, depth=1, rows=2, steps=8, features=3
    ),
    "desk": _settings(_KINDS, _TAUS, 1, width=64, depth=4, rows=16, steps=512, features=64),
    "paper": _settings(
        [*_KINDS, ["lru", None], ["lru", "batch"], ["gru", None], ["gru", "batch"]],
        _TAUS,
        5,
        width=256,
        depth=4,
        rows=16,
        steps=512,
        features=768,
    ),
}
WEIGHTS = {
    "complex": ("lambda_re_im",),
    "lru": ("nu_log", "theta_log", "gamma_log"),
    "gru": ("recurrent_kernel", "bias"),
}


def cells(settings):
    """One for each kind of layer, norm, time scale and seed."""
    shared = {key: settings[key] for key in ("width", "depth", "rows", "steps", "features")}
    found = []
    for run in _experiment.grid(
        kind=settings["kinds"], tau=settings["tau"], seed=settings["seeds"]
    ):
        kind, norm = run.pop("kind")
        known = {**shared, **run, "kind": kind, "norm": norm}
        name = f"{_name(kind, norm)}/tau{run['tau']:g}/seed{run['seed']}"
        found.append(_experiment.Cell(name, known, functools.partial(_measure, **known)))
    return found


def _name(kind, norm):
    return f"{kind}/{norm or 'no'}_norm"


def draw_inputs(rows, steps, features, seed):
    """(numbers [rows, steps, features], where they are from)"""
    import numpy as np

    from rnnzoo.tasks.originals import _data

    random = np.random.default_rng(seed)
    path = _data.root() / FILE
    if path.exists():
        held = np.load(path, mmap_mode="r")
        chosen = random.choice(len(held), rows, replace=False)
        return np.asarray(held[np.sort(chosen), :steps, :features], np.float32), FILE
    slow, white = random.normal(size=[2, rows, steps, features])
    for t in range(1, steps):
        slow[:, t] = 0.997 * slow[:, t - 1] + np.sqrt(1 - 0.997**2) * slow[:, t]
    return (np.sqrt(0.044) * slow + np.sqrt(0.332) * white).astype(np.float32), "gaussian"


def make_model(kind, norm, tau, width, depth, features, seed):
    """The deep model; its recurrent layers are `rnn0`, `rnn1`, ..."""
    import keras

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None, features))
    hidden = keras.layers.Dense(width, name="encoder")(inputs)
    for number in range(depth):
        z = _recurrent(kind, tau, width, 1000 * seed + 100 * number, f"rnn{number}")(
            _norm(norm)(hidden)
        )
        z = _norm(norm)(keras.activations.gelu(z))
        gate = keras.layers.Dense(width, activation="sigmoid", name=f"gate{number}")(z)
        z = keras.layers.Dense(width, name=f"value{number}")(z) * gate
        hidden = hidden + z
    return keras.Model(inputs, keras.layers.Dense(features, name="head")(hidden))


def _norm(norm):
    import keras

    if norm == "batch":
        return keras.layers.BatchNormalization(momentum=0.0)  # the last batch's statistics
    return keras.layers.LayerNormalization() if norm == "layer" else keras.layers.Identity()


def _recurrent(kind, tau, width, seed, name):
    import keras

    from rnnzoo import initializers, layers

    shared = {"return_sequences": True, "name": name}
    if kind == "gru":
        bias = initializers.Chrono(width, t_max=2 * tau + 1, t_min=tau + 1, seed=seed)
        return keras.layers.GRU(width, bias_initializer=bias, **shared)
    ring = {"r_min": 1 - 1 / tau, "r_max": 1 - 1 / (2 * tau), "seed": seed}
    return (layers.ComplexRNN if kind == "complex" else layers.LRU)(width, **ring, **shared)


def _measure(folder, console, *, kind, norm, tau, width, depth, rows, steps, features, seed):
    """The mean squares, each a list over the layers."""
    import keras

    from rnnzoo import diagnostics

    data, source = draw_inputs(rows, steps, features, seed)
    model = make_model(kind, norm, tau, width, depth, data.shape[-1], seed)
    x, y = data[:, :-1], data[:, 1:]
    if norm == "batch":
        model(x, training=True)
    found = diagnostics.signal_propagation(model, (x, y), "mse", batch_size=rows)
    gradients = {name: [] for name in WEIGHTS[kind]}
    for number in range(depth):
        layer = model.get_layer(f"rnn{number}")
        for weight in layer.weights:
            if weight.name in gradients:
                gradients[weight.name].append(found.weight_gradients[weight.path])
    keras.backend.clear_session()
    return {
        "inputs": source,
        **{key: list(getattr(found, key).values()) for key in SIGNALS},
        "weight_gradients": gradients,
    }


SIGNALS = ("states", "outputs", "output_gradients")


def summarize(settings, results):
    """Over tau, layer by layer: geometric means over seeds; growth in orders of magnitude."""
    summary = {}
    for kind, norm in settings["kinds"]:
        groups = [
            [results.get(f"{_name(kind, norm)}/tau{t:g}/seed{s}") for s in settings["seeds"]]
            for t in settings["tau"]
        ]
        if any(None in group for group in groups):
            continue
        found = {key: _over_tau(groups, lambda r, key=key: r[key]) for key in SIGNALS}
        gradients = {
            name: _over_tau(groups, lambda r, name=name: r["weight_gradients"][name])
            for name in WEIGHTS[kind]
        }
        summary[_name(kind, norm)] = {
            "inputs": groups[0][0]["inputs"],
            **found,
            "weight_gradients": gradients,
            "growth": {name: _growth(v) for name, v in {**found, **gradients}.items()},
        }
    return summary


def _over_tau(groups, value):
    """[tau, layer]"""
    import numpy as np

    return [np.exp(np.mean(np.log([value(r) for r in group]), 0)).tolist() for group in groups]


def _growth(values):
    """Of each layer from the first tau to the last, in powers of ten."""
    import numpy as np

    return np.log10(np.array(values[-1]) / np.array(values[0])).tolist()


def draw(settings, summary):
    """Of the first layer and the last: states, outputs' gradients, and weights' gradients."""
    figure = _experiment.new_figure(16, 4.2)
    axes = figure.subplots(1, 4)
    taus, number = settings["tau"], 0
    for index, (name, found) in enumerate(summary.items()):
        for panel, key in zip(axes, ("states", "output_gradients")):
            for layer, style in ((0, "-"), (-1, "--")):
                label = f"{name}" if layer == 0 else None
                values = [row[layer] for row in found[key]]
                panel.loglog(taus, values, style, marker=".", color=f"C{index}", label=label)
        for weight, rows in found["weight_gradients"].items():
            for panel, layer in zip(axes[2:], (0, -1)):
                values = [row[layer] for row in rows]
                label = f"{name}: {weight}"
                style = {"marker": ".", "color": f"C{number % 10}", "label": label}
                panel.loglog(taus, values, "--" if number > 9 else "-", **style)
            number += 1
    shared = "(dashed: last layer)"
    titles = (
        f"states {shared}",
        f"gradients by outputs {shared}",
        "gradients by weights, first layer",
        "gradients by weights, last layer",
    )
    for panel, title in zip(axes, titles):
        panel.set(xlabel=r"$\tau$", ylabel="mean square", title=title)
        if panel.lines:
            panel.legend(fontsize="xx-small")
    return figure
