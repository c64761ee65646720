"""Every public layer passes the shared check."""

import pytest
from layer_check import run_layer_check

import rnnzoo.layers

ARGUMENTS = {
    "HDetachLSTM": {"units": 4, "p": 0.5, "dropout": 0.1, "seed": 3},
    "LRU": {"units": 4, "state_size": 6},
    "StableLSTM": {"units": 4, "contraction": 0.9, "input_bound": 2.0},
    "StableRNN": {"units": 4, "contraction": 0.8, "activation": "relu"},
}
WRAPPERS = {"TruncatedWrapper"}  # wraps a layer, and streams as no other does: its own test file


def test_the_table_names_every_layer():
    assert set(ARGUMENTS) | WRAPPERS == set(rnnzoo.layers.__all__)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_layer(name, tmp_path):
    run_layer_check(getattr(rnnzoo.layers, name), ARGUMENTS[name], tmp_path)
