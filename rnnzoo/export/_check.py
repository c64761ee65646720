"""Whether an export computes what its source does."""

import numpy as np
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.export._errors import ExportError
from rnnzoo.export._signatures import call_source

_BATCH, _TIME = 3, 7


def compare(callables, signatures):
    """Compare an export with its source on random input.

    Args:
        callables: `{signature name: function from arrays to arrays}` of what was written.
        signatures: the source's.

    Returns:
        The largest differences of an output or state, `{what was compared: number}`, each within
        the square root of the source's machine precision.
    """
    calls = {name: _Named(name, callables[name], signatures[name]) for name in signatures}
    for name, request in signatures.example_requests():
        calls[name](request)
    found = {"whole sequences against the source": _whole(calls, signatures)}
    if signatures.stream is not None:
        found["padded sequences against each alone"] = _lengths(calls, signatures)
        found["step by step against whole sequences"] = _steps(calls, signatures)
    return {what: float(difference) for what, difference in found.items()}


class _Named:
    """An exported signature, which must return what the source's does, by name."""

    def __init__(self, name, call, signature):
        self.name, self.call, self.outputs = name, call, sorted(signature.outputs())

    def __call__(self, arrays):
        found = self.call(arrays)
        if sorted(found) != self.outputs:
            raise ExportError(
                f"The export differs from its source: {self.name} returns {sorted(found)}, not "
                f"{self.outputs}."
            )
        return found


def _example(signatures):
    time = next(
        (
            int(t.shape[1])
            for t, timed in zip(signatures.sources, signatures.input_has_time)
            if timed and t.shape[1] is not None
        ),
        _TIME,
    )
    inputs = signatures["serving_default"].inputs
    return signatures.example(inputs, _BATCH, time, seed=1), time


def _whole(calls, signatures):
    """The signature against the source itself."""
    arrays, _ = _example(signatures)
    expected = call_source(signatures, [arrays[name] for name in signatures.inputs])
    found = calls["serving_default"](arrays)
    return max(
        _difference(f"output {name!r}", found[name], value, signatures)
        for name, value in zip(signatures.outputs, expected)
    )


def _lengths(calls, signatures):
    """Padded rows against the unpadded ones, one by one."""
    arrays, time = _example(signatures)
    lengths = np.array([time, 0, max(time // 2, 1)], "int32")
    found = calls["serving_default"]({**arrays, "lengths": lengths})
    stream, worst = signatures.stream, 0.0
    for row in (0, 2):
        cut = {
            source: arrays[name][row : row + 1, : lengths[row]]
            if timed
            else arrays[name][row : row + 1]
            for (name, source), timed in zip(signatures.inputs.items(), signatures.input_has_time)
        }
        cut = {n: tf.cast(v, stream.model.input[n].dtype) for n, v in cut.items()}
        flat = stream.model({**cut, **stream.initial_state(1)}, training=False)
        for name in signatures.state_names:
            got = found[f"next_state_{name}"][row : row + 1]
            label = f"state {name!r} at length {lengths[row]}"
            worst = max(worst, _difference(label, got, flat[f"next_{name}"], signatures))
        for (name, source), timed in zip(signatures.outputs.items(), stream.output_has_time):
            got = found[name][row : row + 1]
            got = got[:, : lengths[row]] if timed else got
            label = f"output {name!r} at length {lengths[row]}"
            worst = max(worst, _difference(label, got, flat[source], signatures))
    return worst


def _steps(calls, signatures):
    """Steps from the initial state against the whole sequence."""
    arrays, time = _example(signatures)
    whole = calls["serving_default"](arrays)
    state = calls["initial_state"]({"rows": np.zeros([_BATCH], "int32")})
    timed = dict(zip(signatures.inputs, signatures.input_has_time))
    worst = 0.0
    for t in range(time):
        x = {n: arrays[n][:, t] if timed[n] else arrays[n] for n in timed}
        found = calls["step"]({**x, **state})
        state = {k.removeprefix("next_"): v for k, v in found.items() if k.startswith("next_")}
        for name, has_time in zip(signatures.outputs, signatures.stream.output_has_time):
            if has_time or t == time - 1:
                expected = whole[name][:, t] if has_time else whole[name]
                label = f"output {name!r} of step {t}"
                worst = max(worst, _difference(label, found[name], expected, signatures))
    for name, value in state.items():
        label = f"{name} after {time} steps"
        worst = max(worst, _difference(label, value, whole[f"next_{name}"], signatures))
    return worst


def _difference(label, found, expected, signatures):
    expected = tf.convert_to_tensor(expected)
    precision = _precision([expected.dtype, *_compute_dtypes(signatures.model)])
    expected = tf.cast(expected, tf.float64).numpy()
    if found.shape != expected.shape:
        raise ExportError(
            f"The export differs from its source: {label} has the shape {found.shape}, not "
            f"{expected.shape}."
        )
    difference = float(np.max(np.abs(found.astype("float64") - expected), initial=0.0))
    bound = np.sqrt(precision) * max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    if not difference <= bound:  # a NaN is a difference too
        raise ExportError(
            f"The export differs from its source: {label} by {difference:.3g}, more than "
            f"{bound:.3g}."
        )
    return difference


def _compute_dtypes(model):
    return {tf.as_dtype(layer.compute_dtype) for layer in _keras.flat_layers(model)}


def _precision(dtypes):
    import ml_dtypes

    return max(float(ml_dtypes.finfo(d.as_numpy_dtype).eps) for d in dtypes if d.is_floating)
