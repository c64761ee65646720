"""The zoo's Keras layers. All take ``[B, T, F]`` and behave as `keras.layers.RNN` does."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "rnnzoo needs Keras's TensorFlow backend (the environment variable KERAS_BACKEND). "
        f"Received: KERAS_BACKEND={keras.backend.backend()!r}"
    )

from rnnzoo.layers.hdetach_lstm import HDetachLSTM
from rnnzoo.layers.lru import LRU
from rnnzoo.layers.stable_lstm import StableLSTM
from rnnzoo.layers.stable_rnn import StableRNN
from rnnzoo.layers.truncated_wrapper import TruncatedWrapper

__all__ = ["LRU", "HDetachLSTM", "StableLSTM", "StableRNN", "TruncatedWrapper"]
