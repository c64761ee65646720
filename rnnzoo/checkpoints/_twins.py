"""Which of the zoo's classes has the weights of which of Keras's, in the same order."""

import keras

from rnnzoo import layers
from rnnzoo.layers.stable_rnn import StableRNNCell

TWINS = {
    keras.layers.LSTM: layers.HDetachLSTM,
    keras.layers.SimpleRNN: layers.StableRNN,
    keras.layers.SimpleRNNCell: StableRNNCell,
}
# How Keras calls them in files of weights: its own first.
FILE_NAMES = (
    ("lstm", "h_detach_lstm"),
    ("simple_rnn", "stable_rnn"),
    ("simple_rnn_cell", "stable_rnn_cell"),
)
