"""TensorFlow imported quietly, for commands: a library leaves what is printed to its user."""

import contextlib
import os
import sys


def import_tensorflow():
    """Import TensorFlow without the notes that its C++ side prints whatever the log level is."""
    if "tensorflow" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        return
    with contextlib.ExitStack() as stack, open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        stack.callback(os.close, kept)
        stack.callback(os.dup2, kept, 2)
        os.dup2(nowhere.fileno(), 2)
        import keras  # noqa: F401
