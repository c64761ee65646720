"""The SavedModel form of an export, which TensorFlow Serving takes."""

import pathlib

import keras
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.export import _deployment
from rnnzoo.export._errors import ExportError
from rnnzoo.serving.warmup import write_warmup

_FORBIDDEN = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "Xla", "Cudnn")


def write(folder, signatures, directory, version):
    """Write the SavedModel, its warm-up records and the server's configuration."""
    archive = keras.export.ExportArchive()
    for name, signature in signatures.items():
        signature.outputs()  # traced now, as the archive asks
        archive.add_endpoint(name, signature.function)
    archive.write_out(str(folder), verbose=False)
    write_warmup(folder, directory.name, signatures.example_requests())
    check_graph(folder)
    _deployment.write(folder, signatures, directory, version)
    return signatures


def callables(folder, names):
    """`{signature name: function from arrays to arrays}` of what was written."""
    loaded = tf.saved_model.load(str(folder))
    missing = sorted(set(names) - set(loaded.signatures))
    if missing:
        raise ExportError(f"{folder} has no signature {', '.join(missing)}.")
    return {name: _Caller(loaded, name) for name in names}


class _Caller:
    """A loaded signature on NumPy arrays; it keeps the model, which owns the weights."""

    def __init__(self, loaded, name):
        self.loaded, self.function = loaded, loaded.signatures[name]

    def __call__(self, arrays):
        found = self.function(**{name: tf.constant(a) for name, a in arrays.items()})
        return {name: value.numpy() for name, value in found.items()}


def check_graph(folder):
    """Refuse XLA-compiled functions and operations that a stock server does not have."""
    for function in graph_functions(folder):
        for part in (function, *function.node_def):
            if _keras.compiled_by_xla(part):
                name = part.signature.name if part is function else part.name
                raise ExportError(
                    f"{name} is compiled with XLA, which a stock server refuses. Build the layer "
                    "in a form that is not compiled."
                )
        for node in function.node_def:
            if node.op.startswith(_FORBIDDEN):
                raise ExportError(
                    f"The operation {node.name} of type {node.op} is not one of a stock server's."
                )


def graph_functions(folder):
    """All functions in the graph of a SavedModel, as protocol buffers."""
    content = (pathlib.Path(folder) / "saved_model.pb").read_bytes()
    graphs = _keras.saved_model_message().FromString(content).meta_graphs
    return [f for graph in graphs for f in graph.graph_def.library.function]
