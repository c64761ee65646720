"""Every public layer passes the shared check."""

import pytest
from layer_check import run_layer_check

import rnnzoo.layers

ARGUMENTS = {
    "ComplexRNN": {"units": 4, "state_size": 6},
    "GatedConv": {"units": 4, "levels": 2, "bottleneck": 2, "dropout": 0.1, "seed": 3},
    "HDetachLSTM": {"units": 4, "p": 0.5, "dropout": 0.1, "seed": 3},
    "LRU": {"units": 4, "state_size": 6},
    "LRUBlock": {"units": 4, "state_size": 6, "dropout": 0.1, "seed": 3},
    "LinearRNN": {"units": 4, "heads": 3, "state_size": 6},
    "RunningMean": {"units": 3},
    "StableLSTM": {"units": 4, "contraction": 0.9, "input_bound": 2.0},
    "StableRNN": {"units": 4, "contraction": 0.8, "activation": "relu"},
    "TCN": {"units": 4, "levels": 2, "kernel_size": 2, "dropout": 0.1, "seed": 3},
    "WaveNet": {"units": 4, "levels": 2, "skip_units": 3},
}
# These have test files of their own: the wrapper streams as no other layer does, attention not, and
# the softmax and the embedding are no layers of the recurrent interface.
OTHERS = {"AdaptiveSoftmax", "TransformerEncoder", "TruncatedWrapper", "WordWindows"}


def test_the_table_names_every_layer():
    assert set(ARGUMENTS) | OTHERS == set(rnnzoo.layers.__all__)


# A ComplexRNN is an LRU with two arguments fixed.
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n == "ComplexRNN" else n for n in ARGUMENTS]


@pytest.mark.parametrize("name", NAMES)
def test_layer(name, tmp_path):
    run_layer_check(getattr(rnnzoo.layers, name), ARGUMENTS[name], tmp_path)
