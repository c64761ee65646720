"""The zoo's Keras layers: ``[B, T, F]`` in, and all but the softmax behave as a Keras RNN."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "rnnzoo needs Keras's TensorFlow backend (the environment variable KERAS_BACKEND). "
        f"Received: KERAS_BACKEND={keras.backend.backend()!r}"
    )

from rnnzoo.layers.adaptive_softmax import AdaptiveSoftmax
from rnnzoo.layers.complex_rnn import ComplexRNN
from rnnzoo.layers.gated_conv import GatedConv
from rnnzoo.layers.hdetach_lstm import HDetachLSTM
from rnnzoo.layers.linear_rnn import LinearRNN
from rnnzoo.layers.lru import LRU
from rnnzoo.layers.lru_block import LRUBlock
from rnnzoo.layers.running_mean import RunningMean
from rnnzoo.layers.stable_lstm import StableLSTM
from rnnzoo.layers.stable_rnn import StableRNN
from rnnzoo.layers.tcn import TCN
from rnnzoo.layers.transformer_encoder import TransformerEncoder
from rnnzoo.layers.truncated_wrapper import TruncatedWrapper
from rnnzoo.layers.wave_net import WaveNet
from rnnzoo.layers.word_windows import WordWindows

__all__ = [
    "LRU",
    "TCN",
    "AdaptiveSoftmax",
    "ComplexRNN",
    "GatedConv",
    "HDetachLSTM",
    "LRUBlock",
    "LinearRNN",
    "RunningMean",
    "StableLSTM",
    "StableRNN",
    "TransformerEncoder",
    "TruncatedWrapper",
    "WaveNet",
    "WordWindows",
]
