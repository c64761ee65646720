"""Small LRU layers, with the same weights in every test."""

import numpy as np

from rnnzoo.layers import LRU

PARAMETRIZATIONS = ("exponential", "polar", "tanh", "cartesian")
MASK = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]], bool)
EVERYTHING = {"return_sequences": True, "return_state": True}


def built(units=5, features=3, state_size=4, batch=None, **options):
    options = {"r_min": 0.3, "r_max": 0.95, "seed": 3, "dtype": "float64", **options}
    layer = LRU(units, state_size=state_size, **options)
    layer.build([batch, None, features])
    return layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def weight(layer, name):
    return {w.name: w for w in layer.weights}[name].numpy()
