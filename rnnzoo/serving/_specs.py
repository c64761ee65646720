"""Signatures as client and server know them: names, types and shapes."""

import dataclasses

import numpy as np

# TensorFlow's names of the types that are spoken here.
_TYPES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
}
UNKNOWN = "unknown"  # all others, strings among them


@dataclasses.dataclass(frozen=True)
class Spec:
    """Type and shape of one tensor; a dimension that is free is None."""

    name: str
    dtype: str
    shape: tuple

    def __str__(self):
        return f"{self.dtype} [{', '.join('?' if n is None else str(n) for n in self.shape)}]"

    def takes(self, shape):
        """Whether a tensor may have this shape."""
        return len(shape) == len(self.shape) and all(
            wanted in (None, got) for wanted, got in zip(self.shape, shape)
        )


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs of one signature, `{name: Spec}`."""

    inputs: dict
    outputs: dict


def signatures_of_json(signature_def_map):
    """`{name: Signature}` of a `SignatureDefMap` as protobuf writes it in JSON."""
    return {
        name: Signature(*(_specs(fields.get(side, {})) for side in ("inputs", "outputs")))
        for name, fields in signature_def_map["signature_def"].items()
        if not name.startswith("__")  # TensorFlow's own, without outputs
    }


def _specs(tensors):
    return {name: _spec(name, tensor) for name, tensor in sorted(tensors.items())}


def _spec(name, tensor):
    sizes = [int(d.get("size", 0)) for d in tensor.get("tensor_shape", {}).get("dim", ())]
    shape = tuple(None if size < 0 else size for size in sizes)
    return Spec(name, _TYPES.get(tensor.get("dtype"), UNKNOWN), shape)


def signatures_of_proto(signature_defs):
    """The same of a map of `SignatureDef` protocol buffers."""
    from google.protobuf import json_format

    fields = {
        name: json_format.MessageToDict(definition, preserving_proto_field_name=True)
        for name, definition in signature_defs.items()
    }
    return signatures_of_json({"signature_def": fields})


def elements(shape):
    """How many elements a tensor has, in integers that do not overflow."""
    count = 1
    for size in shape:
        count *= int(size)
    return count


def itemsize(spec):
    return np.dtype(spec.dtype).itemsize
