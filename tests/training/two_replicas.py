"""Trains models on one device and on two replicas, and prints how far they are apart as JSON.

A script: TensorFlow makes two devices of one processor only before it has computed anything.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import layers as zoo
from rnnzoo.training import TruncatedBPTT, _replicas
from rnnzoo.zoo import LAYERS, build

L = keras.layers
B, T, F, H, C = 4, 10, 3, 5, 2
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def data(rows=2 * B, vocabulary=None):
    """The replicas get different numbers of real steps."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, T, F)).astype("float32")
    for row, steps in ((0, 4), (1, 2), (5, 7)):
        x[row, steps:] = 0
    y = rng.normal(size=(rows, T, C)).astype("float32")
    return (x if vocabulary is None else rng.integers(0, vocabulary, (rows, T))), y


def detaching(sequences=True, **options):
    penalties = {"kernel_regularizer": "l2", "activity_regularizer": "l1"}
    layer = zoo.HDetachLSTM(H, p=0.5, seed=2, return_sequences=sequences, **penalties, **options)
    return keras.Sequential([keras.Input((None, F)), L.Masking(), layer, L.Dense(C)])


def layer_of(name):
    options = {"norm": "layer"} if name == "lru_block" else {}
    layer = build(name, 4, **options)
    layer.return_sequences = True
    return keras.Sequential([keras.Input((None, F)), layer, L.Dense(C)])


def truncated(mode):
    layer = zoo.TruncatedWrapper(L.LSTM(4, return_sequences=True), 3, mode=mode)
    return keras.Sequential([keras.Input((None, F)), layer, L.Dense(C)])


def tokens():
    """A model of tokens, and few of them, so that each is looked up many times by each replica."""
    layer = zoo.HDetachLSTM(H, p=0.0, return_sequences=True)
    return keras.Sequential([keras.Input((None,)), L.Embedding(5, 4), layer, L.Dense(C)])


def adam():
    return keras.optimizers.Adam(0.05, global_clipnorm=0.2)


def plain():
    return keras.optimizers.SGD(0.3, global_clipnorm=0.2)


CASES = {
    "keras": (detaching, None, {}),
    "strides": (detaching, lambda model: TruncatedBPTT(model, 4), {"weights": True}),
    "stateful": (detaching, lambda model: TruncatedBPTT(model, 5, stateful=True), {}),
    "reach": (detaching, lambda model: TruncatedBPTT(model, 3, 5), {}),
    "end": (lambda: detaching(False), lambda model: TruncatedBPTT(model, 3, 4), {"end": True}),
    "loss scale": (
        detaching,
        lambda model: TruncatedBPTT(model, 5),
        {"optimizer": lambda: keras.optimizers.LossScaleOptimizer(adam(), 8.0)},
    ),
    "uneven": (detaching, None, {"rows": 7}),
    "tokens": (tokens, None, {"vocabulary": 5}),
    "strides of tokens": (tokens, lambda model: TruncatedBPTT(model, 4), {"vocabulary": 5}),
    "not shared": (detaching, None, {"shared": False}),
    **{name: (lambda name=name: layer_of(name), None, {}) for name in LAYERS},
    # The gradient of a key's bias is 0 but for rounding, which Adam would make steps of.
    "transformer_encoder": (lambda: layer_of("transformer_encoder"), None, {"optimizer": plain}),
    **{f"{m} cut": (lambda m=m: truncated(m), None, {}) for m in ("window", "gradient", "chunk")},
}


def train(
    make, wrap, strategy, *, weights=False, end=False, optimizer=adam, shared=True, **options
):
    keras.utils.set_random_seed(3)
    x, y = data(**options)
    with strategy.scope() if strategy else contextlib.nullcontext():
        inner = make()
        model = inner if wrap is None else wrap(inner)
        model.compile(optimizer(), "mse", metrics=["mae"], weighted_metrics=["mse"])
        before = inner.get_weights()
    if strategy and shared:
        _replicas.replicate(model)
    extra = {}
    if weights:
        extra["sample_weight"] = np.random.default_rng(1).uniform(size=y.shape[:2]).astype("f4")
        extra["sample_weight"][:, 4:8] = 0
    y = y[:, -1] if end else y
    fitting = {"epochs": 2, "batch_size": B, "shuffle": False, "verbose": 0}
    history = model.fit(x, y, validation_data=(x, y), **fitting, **extra).history
    steps = int(model.optimizer.iterations.numpy())
    return before, inner.get_weights(), history, steps


def compare(make, wrap, options):
    before, one, first, steps = train(make, wrap, None, **options)
    _, two, second, others = train(make, wrap, STRATEGY, **options)

    def apart(a, b):
        return max(float(np.abs(v - w).max()) for v, w in zip(a, b, strict=True))

    ratios = {name: np.array(second[name]) / values for name, values in first.items()}
    return {
        "moved": apart(before, one),
        "weights": apart(one, two),
        "history": {name: float(np.abs(ratio - 1).max()) for name, ratio in ratios.items()},
        "steps": [steps, others],
    }


if __name__ == "__main__":
    print(json.dumps({case: compare(*CASES[case]) for case in sys.argv[1:] or CASES}))
