"""Files that hold a model or a training state, and models and weights that move between twins.

A file is written beside its final place under a temporary name, flushed to the disk and then
renamed over it. Whatever stops the writer, the reader finds the old file or the new one. A file
that is missing, damaged or of another origin raises `CheckpointError`, which names it.

`keras.layers.LSTM` and `HDetachLSTM` are twins, and so are `SimpleRNN` and `StableRNN`: they have
the same weights. `convert` makes a model of the zoo's layers out of one of Keras's; `load_weights`
reads a file of weights that was written by either.
"""

from rnnzoo import _machine
from rnnzoo._files import CheckpointError, replacing

__all__ = [
    "CheckpointError",
    "convert",
    "load_arrays",
    "load_model",
    "load_weights",
    "replacing",
    "save_arrays",
    "save_model",
]

# On first use, because reading arrays needs no Keras.
__getattr__, __dir__ = _machine.lazy(
    __name__,
    {
        "convert": "_convert",
        "load_arrays": "_arrays",
        "load_model": "_models",
        "load_weights": "_weights",
        "save_arrays": "_arrays",
        "save_model": "_models",
    },
)
