"""The ONNX form of an export: one file a signature, for ONNX Runtime and what else reads it."""

import numpy as np

from rnnzoo.export._errors import converting, needed
from rnnzoo.export._looped import with_fallback

OPSET = 18


def write(folder, signatures, directory, version):
    """Write `<signature>.onnx` for each signature."""
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx
    except ModuleNotFoundError as error:
        raise needed(error.name) from error

    def write_all(signatures):
        for name, signature in signatures.items():
            signature.outputs()  # traced, as tf2onnx asks
            with converting("ONNX", ("tf2onnx", "tf2onnx.tfonnx", "tensorflow")):
                tf2onnx.convert.from_function(
                    signature.function,
                    input_signature=signature.inputs,
                    opset=OPSET,
                    custom_op_handlers={"Erfc": (_erfc, [])},
                    output_path=str(folder / f"{name}.onnx"),
                )
            callables(folder, [name])  # what cannot be converted shows when it is loaded
        return signatures

    return with_fallback(write_all, signatures)


def _erfc(graph, node, name, args):
    """1 - erf(x), of which the exact GELU is made and which tf2onnx has no form of."""
    from tf2onnx import utils

    kind = {
        "shapes": [graph.get_shape(node.output[0])],
        "dtypes": [graph.get_dtype(node.output[0])],
    }
    one = np.ones([], utils.map_onnx_to_numpy_type(graph.get_dtype(node.output[0])))
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", node.input[:1], **kind)
    one = graph.make_const(utils.make_name("one"), one)
    inputs = [one.output[0], erf.output[0]]
    graph.make_node("Sub", inputs, name=node.name, outputs=node.output, **kind)


def callables(folder, names):
    """`{signature name: function from arrays to arrays}` of what was written."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise needed(error.name) from error

    with converting("ONNX"):
        return {
            name: _Caller(
                onnxruntime.InferenceSession(
                    str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"]
                )
            )
            for name in names
        }


class _Caller:
    """A session on NumPy arrays."""

    def __init__(self, session):
        self.session = session
        self.names = [output.name for output in session.get_outputs()]

    def __call__(self, arrays):
        return dict(zip(self.names, self.session.run(None, arrays)))
