"""TensorFlow Serving's JSON formats: rows ("instances") and columns ("inputs"), and back.

NaN and infinities are written as `NaN`, `Infinity` and `-Infinity`, as TensorFlow Serving does.
"""

import itertools
import json

import numpy as np

from rnnzoo.serving._specs import UNKNOWN
from rnnzoo.serving.errors import ServingError

# What JSON offers for each kind of NumPy type; booleans are no numbers.
_LEAVES = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}


def _refused(message):
    return ServingError("INVALID_ARGUMENT", message)


def parse(body):
    """The object in a request's body, and its `signature_name` ("" where it has none)."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _refused(f"JSON Parse error: {type(error).__name__}: {error}") from error
    if not isinstance(document, dict):
        raise _refused("The JSON of a request must be an object.")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _refused("'signature_name' key must be a string value.")
    return document, name


def arrays_of_request(document, inputs):
    """`({name: array}, by_rows)` of a request; `inputs` are the signature's, `{name: Spec}`."""
    by_rows, by_columns = "instances" in document, "inputs" in document
    if by_rows == by_columns:
        raise _refused("A request must have one of the keys 'inputs' and 'instances'.")
    columns = _columns(document["instances"], inputs) if by_rows else document["inputs"]
    if not isinstance(columns, dict):
        if len(inputs) > 1:
            raise _refused(f"'inputs' must be an object with the keys {', '.join(inputs)}.")
        columns = {next(iter(inputs)): columns}
    _check_keys(columns, inputs)
    return {name: _array(columns[name], inputs[name]) for name in inputs}, by_rows


def _check_keys(given, wanted):
    if set(given) != set(wanted):
        raise _refused(
            f"The inputs must be {', '.join(wanted)}. Received: {', '.join(given) or 'none'}"
        )


def _columns(instances, inputs):
    """A list of rows, each an object or the only input's value, as columns."""
    if not isinstance(instances, list) or not instances:
        raise _refused("'instances' must be a list with at least one element.")
    if not isinstance(instances[0], dict):
        if len(inputs) > 1:
            raise _refused(f"'instances' must be objects with the keys {', '.join(inputs)}.")
        return {next(iter(inputs)): instances}
    for instance in instances:
        if not isinstance(instance, dict):
            raise _refused("'instances' must be all objects, or none.")
        _check_keys(instance, inputs)
    return {name: [instance[name] for instance in instances] for name in inputs}


def _array(value, spec):
    """Nested lists as an array of the type asked for; nothing is converted on the way."""
    flat, shape = [value], []
    while flat and type(flat[0]) is list:
        if len(shape) == len(spec.shape):
            raise _refused(f"{spec.name!r} must be {spec}; its lists are nested deeper.")
        shape.append(len(flat[0]))
        if any(type(part) is not list or len(part) != shape[-1] for part in flat):
            raise _refused(f"{spec.name!r} must be {spec}; its lists are not of one length.")
        flat = list(itertools.chain.from_iterable(flat))
    kind = np.dtype(spec.dtype).kind if spec.dtype != UNKNOWN else None
    if not set(map(type, flat)) <= _LEAVES.get(kind, set()):
        raise _refused(f"{spec.name!r} must be {spec}; it holds values of another type.")
    try:
        with np.errstate(over="ignore"):
            wide = np.array(flat, "float64" if kind == "f" else spec.dtype)
            return wide.astype(spec.dtype).reshape(shape)
    except OverflowError as error:
        raise _refused(f"{spec.name!r} must be {spec}; it holds a number too large.") from error


def request(signature_name, arrays):
    """A request by columns, as bytes."""
    columns = {name: array.tolist() for name, array in arrays.items()}
    return json.dumps({"signature_name": signature_name, "inputs": columns}).encode()


def response(arrays, by_rows):
    """The answer's JSON, as bytes; a single output stands without its name."""
    single = len(arrays) == 1
    columns = {name: array.tolist() for name, array in arrays.items()}
    if not by_rows:
        return json.dumps({"outputs": next(iter(columns.values())) if single else columns}).encode()
    if len({array.shape[:1] for array in arrays.values()}) != 1:
        raise _refused("These outputs have no rows in common: ask by 'inputs'.")
    if single:
        return json.dumps({"predictions": next(iter(columns.values()))}).encode()
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    return json.dumps({"predictions": rows}).encode()


def arrays_of_response(body, outputs):
    """`{name: array}` of an answer by columns; `outputs` are the signature's, `{name: Spec}`."""
    try:
        columns = json.loads(body)["outputs"]
        if len(outputs) == 1:
            columns = {next(iter(outputs)): columns}
        return {name: _array(columns[name], spec) for name, spec in outputs.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ServingError("INTERNAL", f"the server's answer cannot be read: {error!r}") from error
