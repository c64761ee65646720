"""The zoo's Keras layers. All take ``[B, T, F]`` and behave as `keras.layers.RNN` does."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "rnnzoo needs Keras's TensorFlow backend (the environment variable KERAS_BACKEND). "
        f"Received: KERAS_BACKEND={keras.backend.backend()!r}"
    )

from rnnzoo.layers.gated_conv import GatedConv
from rnnzoo.layers.hdetach_lstm import HDetachLSTM
from rnnzoo.layers.lru import LRU
from rnnzoo.layers.stable_lstm import StableLSTM
from rnnzoo.layers.stable_rnn import StableRNN
from rnnzoo.layers.tcn import TCN
from rnnzoo.layers.transformer_encoder import TransformerEncoder
from rnnzoo.layers.truncated_wrapper import TruncatedWrapper
from rnnzoo.layers.wave_net import WaveNet

__all__ = [
    "LRU",
    "TCN",
    "GatedConv",
    "HDetachLSTM",
    "StableLSTM",
    "StableRNN",
    "TransformerEncoder",
    "TruncatedWrapper",
    "WaveNet",
]
