"""The options of linear recurrent units: one table that layers, cells and the zoo agree with."""

import inspect

import pytest

from rnnzoo import layers, zoo
from rnnzoo._checks import LRUOptions
from rnnzoo.layers import _eigenvalues

KINDS = {"lru": layers.LRU, "complex_rnn": layers.ComplexRNN, "lru_block": layers.LRUBlock}


@pytest.mark.parametrize("name", KINDS)
def test_defaults_are_those_of_the_table(name):
    signature = inspect.signature(KINDS[name].__init__).parameters
    config, listed = KINDS[name](4).get_config(), zoo.LAYERS[name].options
    table = LRUOptions().as_dict()
    taken = [option for option in table if option in signature]
    assert set(table) - set(taken) <= {"parametrization", "normalization"}
    for option in taken:
        assert signature[option].default == config[option] == listed[option] == table[option]


def test_the_cell_of_a_layer_has_its_options():
    given = LRUOptions(6, "polar", "fixed", 0.25, 0.75, 1.5, 3)
    arguments = given.as_dict()
    assert layers.LRU(4, **arguments).cell.options == given
    assert layers.LRUBlock(4, **arguments).cell.lru.options == given


def test_every_parametrization_has_its_formula():
    assert set(LRUOptions.parametrizations) == set(_eigenvalues.PARAMETRIZATIONS)


def test_options_are_taken_out_of_the_arguments():
    kwargs = {"r_min": 0.5, "name": "lru"}
    assert LRUOptions.out_of(kwargs) == LRUOptions(r_min=0.5)
    assert kwargs == {"name": "lru"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"state_size": 0}, ValueError, r"`state_size` .*Received: state_size=0"),
        ({"parametrization": "log"}, ValueError, r"`parametrization` .*'exponential'.*'log'"),
        ({"normalization": True}, ValueError, r"`normalization` .*None. Received: .*True"),
        ({"r_max": 1.5}, ValueError, r"`r_max` .*\(0, 1\]. Received: r_max=1.5"),
        ({"r_min": 0.9, "r_max": 0.5}, ValueError, r"`r_min` .*\[0, 0.5\]. Received: r_min=0.9"),
        ({"r_min": 1.0}, ValueError, r"`r_min` .*\[0, 1\). Received: r_min=1.0"),
        ({"parametrization": "tanh"}, ValueError, r"`r_min` must be positive.*r_min=0.0"),
        ({"max_phase": 0.0}, ValueError, r"`max_phase` .*Received: max_phase=0.0"),
        ({"seed": 1.5}, TypeError, r"`seed` .*Received: seed=1.5"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        LRUOptions(**options)
