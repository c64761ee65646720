"""GroupedAdamW against a NumPy computation, and as a file."""

import keras
import numpy as np
import pytest

from rnnzoo.layers import LRU
from rnnzoo.training.optimizers import GroupedAdamW

SLOW = {"match": "slow", "rate": 0.25}
HEAVY = {"match": "heavy|slow", "rate": 2.0, "decay": 0.1}


def adamw(w, gradients, rate, decay):
    """Loshchilov & Hutter's algorithm 2 in float64, without a schedule."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7 / np.sqrt(1 - 0.999**t))
        w = w - rate * (decay * w + step)
    return w


def test_each_group_takes_its_own_rate_and_decay():
    rng = np.random.default_rng(0)
    start = {name: rng.normal(size=(3, 2)) for name in ("slow", "heavy", "plain")}
    gradients = {name: rng.normal(size=(5, 3, 2)) for name in start}
    variables = [keras.Variable(w, dtype="float64", name=name) for name, w in start.items()]
    optimizer = GroupedAdamW(0.01, weight_decay=0.03, groups=[SLOW, HEAVY])
    for t in range(5):
        optimizer.apply([keras.ops.array(gradients[v.name][t]) for v in variables], variables)
    wanted = {"slow": (0.0025, 0.0), "heavy": (0.02, 0.1), "plain": (0.01, 0.03)}
    for variable in variables:
        found = keras.ops.convert_to_numpy(variable)
        expected = adamw(start[variable.name], gradients[variable.name], *wanted[variable.name])
        # Keras keeps the rate and the betas in float32.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_without_groups_it_is_keras_adamw():
    def trained(optimizer):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((None, 2)), LRU(3, seed=1), keras.layers.Dense(1)])
        model.compile(optimizer, "mse")
        model.fit(np.ones([8, 5, 2]), np.ones([8, 1]), epochs=3, verbose=0)
        return model.get_weights()

    ours = trained(GroupedAdamW(0.01, weight_decay=0.1))
    theirs = trained(keras.optimizers.AdamW(0.01, weight_decay=0.1))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_its_configuration_makes_it_again():
    optimizer = GroupedAdamW(0.01, weight_decay=0.03, groups=[SLOW], beta_2=0.99)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is GroupedAdamW
    assert again.get_config() == optimizer.get_config()
    assert (again.decay, again.groups) == (0.03, [{"match": "slow", "rate": 0.25, "decay": 0.0}])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": [{"rate": 1.0}]}, "with `match` and perhaps"),
        ({"groups": [{"match": "a", "speed": 1.0}]}, "Received: .*'speed'"),
        (
            {"groups": [{"match": "("}]},
            r"`match` must be a regular expression. Received: match='\('",
        ),
        ({"groups": [{"match": "a", "rate": -1.0}]}, "`rate` must be .* Received: rate=-1.0"),
        ({"weight_decay": -0.1}, "`weight_decay` must be .* Received: weight_decay=-0.1"),
    ],
)
def test_bad_arguments(options, words):
    with pytest.raises(ValueError, match=words):
        GroupedAdamW(**options)


def test_a_group_without_weights_is_an_error():
    with pytest.raises(ValueError, match="Received: match='nu_log', which is in none"):
        GroupedAdamW(groups=[{"match": "nu_log"}]).build([keras.Variable(1.0, name="w")])
