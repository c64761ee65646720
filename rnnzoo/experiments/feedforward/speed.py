"""Recurrent, truncated, convolutional and attention models: bytes, latency and tokens per second.

Every model is one layer of about the same number of parameters, untrained: what a step costs does
not depend on what it has learned. The truncated models are windows of k steps of the recurrent one;
the convolutional ones see at least k steps. The transformer attends to all of a sequence; k is the
number of inputs that its latency is measured on.

- tokens per second: all outputs of B sequences of T steps at once, through `predict_on_batch`
- latency: one more output of one sequence, in a compiled graph. Models with a state (recurrent, and
  convolutions with their past inputs) take one step; a window, and the transformer's output, is
  computed anew from its k inputs.
- bytes: of the weights, and of what a sequence has to keep between two steps
"""

import functools

from rnnzoo.experiments import _experiment

__all__ = ["NOTES", "PUBLISHED", "SCALES", "cells", "draw", "summarize", "table"]

PUBLISHED = [
    {
        "what": "feed-forward models in place of recurrent ones",
        "value": "can be trained and run in parallel over time; no figures given there",
        "source": "the BAIR essay When Recurrent Models Don't Need to be Recurrent",
        "confidence": "recalled, not confirmed",
    }
]
NOTES = [
    "No published figure is reproduced here: the essay states the claim without numbers.",
    "Untrained weights; float32; medians of repeated calls after two to warm up. Run it while the "
    "machine does nothing else.",
    "The width of each convolutional model is the one whose parameter count is nearest to the "
    "recurrent layer's; its receptive field is the smallest of its family that covers k.",
    "A window's latency is that of its k steps from 0; the window has no state to keep but its "
    "last k - 1 inputs. The same is counted for the transformer (one block, two heads), which is "
    "not shown as it would stream with the keys and values of its past kept.",
]


def _settings(units, features, batch, times, ks, seconds):
    return {
        "units": units,
        "features": features,
        "batch": batch,
        "times": times,
        "k": ks,
        "seconds": seconds,
        "recurrent": ["stable_lstm", "lru"],
        "convolutional": ["tcn", "gated_conv"],
        "seeds": [0],
    }


SCALES = {
    "smoke": {**_settings(8, 4, 2, [8], [4], 0.02), "recurrent": ["stable_lstm"]},
    "desk": _settings(128, 32, 8, [64, 256, 1024], [4, 16, 64], 0.7),
    "paper": _settings(512, 128, 32, [64, 256, 1024, 4096], [4, 16, 64, 256], 5.0),
}


def cells(settings):
    """One for each model: its bytes, its latency, and its throughput for each T."""
    shared = {key: settings[key] for key in ("units", "features", "batch", "times", "seconds")}
    found = []
    for family, k in _models(settings):
        known = {"family": family, "k": k, **shared, "seed": settings["seeds"][0]}
        work = functools.partial(_measure, **known)
        found.append(_experiment.Cell(_name(family, k), known, work))
    return found


def _models(settings):
    windows = ["truncated", *settings["convolutional"], "transformer"]
    return [(family, None) for family in settings["recurrent"]] + [
        (family, k) for family in windows for k in settings["k"]
    ]


def _name(family, k):
    return family if k is None else f"{family}/k{k}"


def _measure(folder, console, *, family, k, units, features, batch, times, seconds, seed):
    import keras
    import numpy as np

    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    layer = _layer(family, k, units, features, max(times))
    model = keras.Sequential([keras.Input((None, features)), layer])
    model.compile()
    step, kept = _one_step(model, family, k, features)
    throughput = []
    for time in times:
        x = random.normal(size=(batch, time, features)).astype("float32")
        median = _median_seconds(lambda x=x: model.predict_on_batch(x), seconds)
        throughput.append(batch * time / median)
    result = {
        "parameters": model.count_params(),
        "weight_bytes": sum(w.numpy().nbytes for w in model.weights),
        "kept_bytes": kept,
        "receptive_field": getattr(layer, "receptive_field", k),
        "latency_seconds": _median_seconds(step, seconds),
        "tokens_per_second": throughput,
    }
    keras.backend.clear_session()
    return result


def _layer(family, k, units, features, longest):
    from rnnzoo import layers

    if family == "stable_lstm":
        return layers.StableLSTM(units, return_sequences=True)
    if family == "truncated":
        inner = layers.StableLSTM(units, return_sequences=True)
        return layers.TruncatedWrapper(inner, k)
    target = 4 * units * (features + units + 1)
    make = {
        "lru": lambda width: layers.LRU(width, return_sequences=True),
        "tcn": lambda width: layers.TCN(width, *_taps("tcn", k), return_sequences=True),
        "gated_conv": lambda width: layers.GatedConv(
            width, *_taps("gated_conv", k), return_sequences=True
        ),
        "transformer": lambda pairs: layers.TransformerEncoder(
            2 * pairs, levels=1, heads=2, max_length=max(k, longest), return_sequences=True
        ),
    }[family]
    return make(_nearest_width(make, features, target))


def _taps(family, k):
    """(levels, kernel size) of the smallest receptive field that covers k."""
    if family == "gated_conv":
        return 2, max(2, -(-(k - 1) // 2) + 1)
    levels = 1
    while 1 + 2 * 2 * (2**levels - 1) < k:
        levels += 1
    return levels, 3


def _nearest_width(make, features, target):
    """The width with the parameter count nearest to `target`, which grows with the width."""

    @functools.cache
    def count(width):
        layer = make(width)
        layer.build((None, None, features))
        return layer.count_params()

    high = 1
    while count(high) < target:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    return min((w for w in (low, high) if w > 0), key=lambda w: abs(count(w) - target))


def _one_step(model, family, k, features):
    """(a function that computes one more output, the bytes a sequence keeps between two)."""
    import keras
    import tensorflow as tf

    from rnnzoo.layers import TruncatedWrapper
    from rnnzoo.streaming import explicit_state

    if family in ("truncated", "transformer"):
        one = model.layers[0]
        inner = one.layer if family == "truncated" else one
        inner = type(inner).from_config({**inner.get_config(), "return_sequences": False})
        one = TruncatedWrapper(inner, k) if family == "truncated" else inner
        last = keras.Sequential([keras.Input((k, features)), one])
        last.set_weights(model.get_weights())
        window = tf.zeros([1, k, features])
        run = tf.function(lambda x: last(x, training=False), autograph=False)
        return (lambda: run(window).numpy()), 4 * (k - 1) * features
    stream = explicit_state(model)
    state, x = stream.initial_state(1), tf.zeros([1, features])
    run = tf.function(lambda x, state: stream.step(x, state), autograph=False)
    kept = sum(v.shape[-1] * v.dtype.size for v in state.values())
    return (lambda: run(x, state)[0].numpy()), kept


def _median_seconds(call, seconds):
    """The median time of a call, of as many as fit into `seconds`, at least five."""
    import statistics
    import time

    for _ in range(2):
        call()
    found, started = [], time.perf_counter()
    while len(found) < 5 or time.perf_counter() - started < seconds:
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def summarize(settings, results):
    """The results as they are, in the order of the models."""
    names = [_name(family, k) for family, k in _models(settings)]
    return {name: results[name] for name in names if name in results}


def draw(settings, summary):
    """Tokens per second against T, and latency and kept bytes against k."""
    figure = _experiment.new_figure(13, 3.8)
    speed, latency, kept = figure.subplots(1, 3)
    windows = ["truncated", *settings["convolutional"], "transformer"]
    families = [*settings["recurrent"], *windows]
    colors = {family: f"C{i}" for i, family in enumerate(families)}
    styles = ["-", "--", "-.", ":"]
    for family, k in _models(settings):
        found = summary.get(_name(family, k))
        if found is None:
            continue
        style = styles[0 if k is None else settings["k"].index(k) % len(styles)]
        label = family if k is None else f"{family}, k = {k}"
        line = {"color": colors[family], "linestyle": style, "marker": ".", "label": label}
        speed.loglog(settings["times"], found["tokens_per_second"], **line)
        if k is None:
            for panel, key in ((latency, "latency_seconds"), (kept, "kept_bytes")):
                panel.axhline(found[key], color=colors[family], label=family)
    for family in windows:
        at = [k for k in settings["k"] if _name(family, k) in summary]
        for panel, key in ((latency, "latency_seconds"), (kept, "kept_bytes")):
            values = [summary[_name(family, k)][key] for k in at]
            panel.loglog(at, values, ".-", color=colors[family], label=family)
    speed.set(xlabel="T", ylabel="tokens per second")
    latency.set(xlabel="k", ylabel="latency of one step, s")
    kept.set(xlabel="k", ylabel="bytes kept between steps")
    for panel in (latency, kept):
        panel.set_xticks(settings["k"], labels=[str(k) for k in settings["k"]])
        panel.minorticks_off()
    if speed.lines:
        speed.legend(fontsize="xx-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    if latency.lines:
        latency.legend(fontsize="xx-small")
    return figure


def table(settings, summary):
    """The numbers as Markdown: a row for each model."""
    times = settings["times"]
    heads = [f"tokens/s, T = {time}" for time in times]
    columns = ["model", "parameters", "weights, bytes", "kept, bytes", "latency, µs", *heads]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for name, found in summary.items():
        sizes = [found["parameters"], found["weight_bytes"], found["kept_bytes"]]
        speeds = [f"{value:,.0f}" for value in found["tokens_per_second"]]
        cells = [name, *(f"{s:,}" for s in sizes), f"{found['latency_seconds'] * 1e6:.0f}", *speeds]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])
