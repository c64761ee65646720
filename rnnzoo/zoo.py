"""The recurrent layers that the command line and the experiments know by name."""

import dataclasses
import importlib
from typing import Any

from rnnzoo import _checks

_KERAS_OPTIONS = {"use_bias": True, "dropout": 0.0, "go_backwards": False, "seed": None}
_LSTM_OPTIONS = {
    **_KERAS_OPTIONS,
    "recurrent_dropout": 0.0,
    "unit_forget_bias": True,
    "kernel_initializer": "glorot_uniform",
    "recurrent_initializer": "orthogonal",
    "bias_initializer": "zeros",
}
_LRU_OPTIONS = {**_checks.LRUOptions().as_dict(), "go_backwards": False}
_COMPLEX_RNN_OPTIONS = {
    name: default
    for name, default in _LRU_OPTIONS.items()
    if name not in ("parametrization", "normalization")
}
_CAUSAL_OPTIONS = {"dropout": 0.0, "go_backwards": False, "seed": None}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A layer's name, where its class is, one line about it, and the options with their defaults.

    Only the table is read to list the zoo, so that listing it needs no TensorFlow.
    """

    name: str
    path: str
    summary: str
    options: dict

    def layer_class(self) -> type:
        module, _, attribute = self.path.partition(":")
        return getattr(importlib.import_module(module), attribute)


LAYERS = {
    entry.name: entry
    for entry in (
        Entry(
            "hdetach_lstm",
            "rnnzoo.layers:HDetachLSTM",
            "LSTM that cuts the gradient through h at random steps (h-detach)",
            {"p": 0.25, "detach": "h", **_LSTM_OPTIONS},
        ),
        Entry("lstm", "keras.layers:LSTM", "Keras's LSTM", _LSTM_OPTIONS),
        Entry(
            "gru",
            "keras.layers:GRU",
            "Keras's GRU",
            {**_KERAS_OPTIONS, "recurrent_dropout": 0.0, "reset_after": True},
        ),
        Entry(
            "simple_rnn",
            "keras.layers:SimpleRNN",
            "Keras's simple RNN",
            {"activation": "tanh", **_KERAS_OPTIONS, "recurrent_dropout": 0.0},
        ),
        Entry(
            "stable_rnn",
            "rnnzoo.layers:StableRNN",
            "simple RNN whose recurrent matrix is kept a contraction",
            {"contraction": 0.95, "activation": "tanh", **_KERAS_OPTIONS},
        ),
        Entry(
            "stable_lstm",
            "rnnzoo.layers:StableLSTM",
            "LSTM whose gates are kept inside a contraction budget",
            {"contraction": 0.95, "forget_bound": 0.64, "input_bound": 1.0, **_KERAS_OPTIONS},
        ),
        Entry(
            "lru",
            "rnnzoo.layers:LRU",
            "linear recurrent unit: diagonal, complex, |eigenvalue| < 1",
            _LRU_OPTIONS,
        ),
        Entry(
            "complex_rnn",
            "rnnzoo.layers:ComplexRNN",
            "complex diagonal linear RNN without the LRU's normalization and parametrization",
            _COMPLEX_RNN_OPTIONS,
        ),
        Entry(
            "linear_rnn",
            "rnnzoo.layers:LinearRNN",
            "linear RNN with a dense matrix, or block-diagonal with several heads",
            {"heads": 1, "state_size": None, "go_backwards": False, "seed": None},
        ),
        Entry(
            "lru_block",
            "rnnzoo.layers:LRUBlock",
            "residual block of deep models: norm, LRU, GELU, GLU, dropout, skip",
            {"norm": "batch", "norm_first": True, "dropout": 0.0, **_LRU_OPTIONS},
        ),
        Entry(
            "tcn",
            "rnnzoo.layers:TCN",
            "temporal convolutional network: dilated causal convolutions, feed-forward",
            {
                "levels": 8,
                "kernel_size": 8,
                "weight_norm": True,
                "start": "normal",
                "dropout_kind": "channel",
                **_CAUSAL_OPTIONS,
            },
        ),
        Entry(
            "gated_conv",
            "rnnzoo.layers:GatedConv",
            "gated causal convolutions (GCNN), feed-forward",
            {
                "levels": 8,
                "kernel_size": 4,
                "bottleneck": None,
                "weight_norm": True,
                **_CAUSAL_OPTIONS,
            },
        ),
        Entry(
            "wave_net",
            "rnnzoo.layers:WaveNet",
            "WaveNet: gated dilated convolutions with skip connections, feed-forward",
            {
                "levels": 10,
                "repeats": 2,
                "kernel_size": 2,
                "skip_units": None,
                "weight_norm": False,
                **_CAUSAL_OPTIONS,
            },
        ),
        Entry(
            "transformer_encoder",
            "rnnzoo.layers:TransformerEncoder",
            "small causal transformer of Keras's attention layers; does not stream",
            {
                "levels": 2,
                "heads": 4,
                "feed_forward": None,
                "max_length": 1024,
                "dropout": 0.0,
                "seed": None,
            },
        ),
    )
}


def entry(name: str) -> Entry:
    """The entry of that name."""
    return LAYERS[_checks.choice("layer", name, tuple(LAYERS))]


def build(name: str, units: int, **options: Any) -> Any:
    """A new layer: ``build("hdetach_lstm", 128, p=0.5)``."""
    found = entry(name)
    for option in options:
        if option not in found.options:
            raise ValueError(
                f"`{option}` must be an option of the layer {name}: one of "
                f"{', '.join(found.options)}. Received: {option}={options[option]!r}"
            )
    return found.layer_class()(_checks.integer("units", units), **options)
