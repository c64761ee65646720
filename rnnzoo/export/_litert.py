"""The LiteRT form of an export: one file with all signatures, for one sequence at a time."""

import tempfile

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.export._errors import ExportError, converting, needed
from rnnzoo.export._looped import with_fallback
from rnnzoo.export._signatures import Signature

FILE = "model.tflite"


def write(folder, signatures, directory, version):
    """Write `model.tflite`; its batch is one, which is what the converter takes."""
    _interpreter()
    return with_fallback(lambda signatures: _write(folder / FILE, signatures), signatures)


def _write(file, signatures):
    single = {n: Signature(s.body, [_one(i) for i in s.inputs]) for n, s in signatures.items()}
    archive = keras.export.ExportArchive()
    for name, signature in single.items():
        signature.outputs()
        archive.add_endpoint(name, signature.function)
    with tempfile.TemporaryDirectory() as saved, converting("LiteRT"):
        archive.write_out(saved, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=list(single))
        file.write_bytes(converter.convert())
    return single


def _one(spec):
    return tf.TensorSpec([1, *spec.shape[1:]], spec.dtype, spec.name)


def callables(folder, names):
    """`{signature name: function from arrays to arrays}` of what was written."""
    with converting("LiteRT"):
        interpreter = _interpreter()(model_path=str(folder / FILE))
        missing = sorted(set(names) - set(interpreter.get_signature_list()))
        if missing:
            raise ExportError(f"{folder / FILE} has no signature {', '.join(missing)}.")
        return {name: _Caller(interpreter.get_signature_runner(name)) for name in names}


class _Caller:
    """A signature on NumPy arrays of any number of rows, one after the other."""

    def __init__(self, run):
        self.run = run

    def __call__(self, arrays):
        rows = len(next(iter(arrays.values())))
        found = [
            self.run(**{n: a[row : row + 1] for n, a in arrays.items()}) for row in range(rows)
        ]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _interpreter():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise needed("ai-edge-litert") from error
    return Interpreter
