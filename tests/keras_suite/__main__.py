"""Keras's own tests of its recurrent layers, with the zoo's layers in the place of Keras's.

    make test-keras-suite KERAS_SOURCE=FOLDER

`FOLDER` is a checkout of Keras at the version that is installed. Only the test files come from
there; Keras itself is the installed one. Before any of them is imported, `HDetachLSTM(p=0)` takes
the name `keras.layers.LSTM`, and `StableRNN(contraction=0.999)` takes that of `SimpleRNN`. Keras's
wrappers and cells stay what they are.

A test that fails here is a difference to Keras that nobody has documented. With Keras 3.15.1 there
is none: 55 of the 56 tests pass, and the last one, which needs PyTorch, skips itself. A test that
has to fail stands in `EXPECTED` with its reason; where it passes all the same, the run fails.
"""

import functools
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import keras.src.layers.rnn
import pytest

from rnnzoo import layers

FILES = (
    "lstm_test.py",
    "simple_rnn_test.py",
    "bidirectional_test.py",
    "rnn_test.py",
    "stacked_rnn_cells_test.py",
    "time_distributed_test.py",
)
IN_PLACE_OF = {
    "LSTM": functools.partial(layers.HDetachLSTM, p=0.0),
    "SimpleRNN": functools.partial(layers.StableRNN, contraction=0.999),
}
EXPECTED = {}  # "file::test": reason


def put_in_place(source):
    """Put the layers in their places, and the checkout's test files into Keras's package."""
    keras.src.layers.rnn.__path__.insert(0, str(source))
    for module in (keras.layers, keras.src.layers):
        for name, layer in IN_PLACE_OF.items():
            setattr(module, name, layer)


class Expected:
    """A plugin of pytest that marks what has to fail."""

    def pytest_collection_modifyitems(self, items):
        for item in items:
            reason = EXPECTED.get(f"{item.path.name}::{item.originalname}")
            if reason is not None:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def main(folder, *options):
    source = pathlib.Path(folder, "keras/src/layers/rnn").resolve()
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        sys.exit(f"FOLDER must be a checkout of Keras. Received: {folder!r}, without {missing[0]}")
    sys.dont_write_bytecode = True  # nothing is left behind in the checkout
    put_in_place(source)
    own = ["-c", os.devnull, "--rootdir", folder, "-p", "no:cacheprovider", "-q"]
    files = [str(source / name) for name in FILES]
    return pytest.main([*own, *options, *files], plugins=[Expected()])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python tests/keras_suite FOLDER [pytest's options]")
    sys.exit(main(*sys.argv[1:]))
