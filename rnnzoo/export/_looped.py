"""Whole sequences as a plain loop over the step, for converters that refuse the layers' own loops.

The layers run several steps an iteration, or all at once in complex numbers, which ONNX and LiteRT
do not take. The step is plain; so is a loop around it.
"""

import tensorflow as tf

from rnnzoo.export._errors import ExportError
from rnnzoo.export._signatures import Signature, next_states, some_time, step_inputs, widened


def with_fallback(write, signatures):
    """`write(signatures)`, again with a plain loop if the converter refuses the layers' own."""
    try:
        return write(signatures)
    except ExportError:
        if signatures.stream is None:
            raise
    whole = Signature(_Looped(signatures), signatures["serving_default"].inputs)
    return write({**signatures, "serving_default": whole})


class _Looped:
    """A whole sequence from the zero state, one step an iteration."""

    def __init__(self, signatures):
        self.signatures, self.stream = signatures, signatures.stream
        self.model = self.stream.step_model

    def __call__(self, *arguments):
        *inputs, lengths = arguments
        signatures, stream = self.signatures, self.stream
        has_time = signatures.input_has_time
        time = tf.shape(inputs[has_time.index(True)])[1]
        inputs = [some_time(x) if timed else x for x, timed in zip(inputs, has_time)]
        steps = tf.maximum(time, 1)  # a masked one where there is none

        def step(t, state):
            now = [tf.gather(x, t, axis=1) if timed else x for x, timed in zip(inputs, has_time)]
            flat = self.model(step_inputs(signatures, now, state), training=False)
            happens = t < lengths
            state = {n: _where(happens, flat[f"next_{n}"], state[n]) for n in stream.state_names}
            return [widened(flat[source]) for source in signatures.outputs.values()], state

        state = stream.initial_state(tf.shape(lengths)[0])
        state, last, kept = self._loop(step, state, lengths, steps)
        outputs = {
            name: _batch_first(kept.pop(0).stack())[:, :time] if timed else last.pop(0)
            for name, timed in zip(signatures.outputs, stream.output_has_time)
        }
        return {**outputs, **next_states(stream, state, prefix="")}

    def _loop(self, step, state, lengths, steps):
        """The states after the last step, the last outputs, and those that run over time."""
        timed = self.stream.output_has_time
        names = list(state)
        shapes, _ = step(tf.constant(0), state)
        last = [tf.zeros_like(y) for y in shapes]
        arrays = [
            tf.TensorArray(y.dtype, steps, element_shape=y.shape)
            for y, has_time in zip(shapes, timed)
            if has_time
        ]

        def body(t, states, last, arrays):
            outputs, new = step(t, dict(zip(names, states)))
            outputs = [_where(t < lengths, y, old) for y, old in zip(outputs, last)]
            running = [y for y, has_time in zip(outputs, timed) if has_time]
            arrays = [a.write(t, y) for a, y in zip(arrays, running)]
            return t + 1, list(new.values()), outputs, arrays

        loop_vars = (tf.constant(0), list(state.values()), last, arrays)
        _, states, last, arrays = tf.while_loop(lambda t, *_: t < steps, body, loop_vars)
        last = [y for y, has_time in zip(last, timed) if not has_time]
        return dict(zip(names, states)), last, arrays


def _batch_first(y):
    return tf.transpose(y, [1, 0, *range(2, y.shape.rank)])


def _where(happens, new, old):
    rank = new.shape.rank
    chosen = tf.where(tf.reshape(happens, [-1] + [1] * (rank - 1)), new, tf.cast(old, new.dtype))
    chosen.set_shape(new.shape)
    return chosen
