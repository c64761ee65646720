"""What a request may hold: its tensors against the signature, and how large its answer will be."""

import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.serving._specs import UNKNOWN, elements, itemsize
from rnnzoo.serving.errors import ServingError


def arrays_of_request(request, inputs, limit):
    """`{name: array}` of a `PredictRequest`; nothing is unpacked before its size is known.

    A `TensorProto` may state a shape far larger than the message, to be filled with one value.
    """
    check_names(request.inputs, inputs)
    arrays = {}
    for name, spec in inputs.items():
        tensor = request.inputs[name]
        wanted = None if spec.dtype == UNKNOWN else tf.as_dtype(spec.dtype).as_datatype_enum
        if tensor.dtype != wanted:
            raise _refused(f"{name!r} must be {spec}. Received: the type {_type(tensor.dtype)}")
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or not spec.takes(shape) or min(shape, default=0) < 0:
            raise _refused(f"{name!r} must be {spec}. Received: the shape {shape}")
        check_size(f"{name!r}", elements(shape) * itemsize(spec), limit)
        try:
            arrays[name] = tf.make_ndarray(tensor)
        except (ValueError, TypeError) as error:
            raise _refused(f"{name!r} does not hold a tensor of shape {shape}: {error}") from error
    return arrays


def _type(number):
    return _keras.data_type_names().get(number, f"with the number {number}")


def check_names(given, wanted):
    if set(given) != set(wanted):
        extra = ", ".join(sorted(set(given) - set(wanted)))[:200]
        missing = ", ".join(sorted(set(wanted) - set(given)))
        raise _refused(
            f"input size does not match signature. Sent extra: {{{extra}}}. "
            f"Missing but required: {{{missing}}}."
        )


def check_inputs(arrays, inputs):
    for name, spec in inputs.items():
        if not spec.takes(arrays[name].shape):
            shape = list(arrays[name].shape)
            raise _refused(f"{name!r} must be {spec}. Received: the shape {shape}")


def check_answer(arrays, signature, limit):
    """Refuse what would be answered by more than `limit` bytes: rows, times steps, times a width.

    A free dimension of an output is the number of rows if it is the first, else that of time steps.
    """
    rows = max((a.shape[0] for a in arrays.values() if a.ndim), default=1)
    free = [
        size
        for name, spec in signature.inputs.items()
        for size, wanted in zip(arrays[name].shape[1:], spec.shape[1:])
        if wanted is None
    ]
    steps = max(free, default=1)
    for name, spec in signature.outputs.items():
        if spec.dtype == UNKNOWN:
            continue
        sizes = [
            size if size is not None else (steps if axis else rows)
            for axis, size in enumerate(spec.shape)
        ]
        check_size(f"the output {name!r}", elements(sizes) * itemsize(spec), limit)


def check_size(what, size, limit):
    if size > limit:
        raise ServingError(
            "RESOURCE_EXHAUSTED", f"{what} has {size:,} bytes, more than the {limit:,} allowed here"
        )


def _refused(message):
    return ServingError("INVALID_ARGUMENT", message)
