"""The three truncations as functions on tensors, over a step object of `_truncated_cells`.

Everything is time-major, `[T, B, ...]`, without gaps: packing has moved the masked steps of each
row behind the real ones, `count [B]` says how many real ones there are (None: all).

The windows of all t are advanced together. With S_j[t] the state after the last j inputs up to t,

    S_j[t] = step(z[t], S_{j-1}[t-1]),      S_{j-1}[-1] = the initial state,

so a round of the loop is one step for B * T rows and one shift along time; after k rounds every t
has its window, the first k - 1 their shorter ones. What S_0 is decides the mode: the initial state
for windows, the detached states of the full recurrence for cut gradients.
"""

import keras
import tensorflow as tf

from rnnzoo.layers._truncated_cells import output_size
from rnnzoo.recurrences._loops import static_or_dynamic, time_loop


class Runs:
    """The truncations of one call: a step object, the initial state, and the length k."""

    def __init__(self, steps, x, initial, count, k):
        self.steps = steps
        self.k = k
        self.count = count
        self.structure = initial
        self.initial = [tf.cast(s, steps.dtype) for s in keras.tree.flatten(initial)]
        self.x = tf.cast(x, steps.dtype)
        self.time = static_or_dynamic(x, 0)
        self.batch = static_or_dynamic(x, 1)

    def window(self, sequences):
        """`(outputs [T, B, U] or [B, U], states)` of windows that start from the initial state."""
        if not sequences:
            last, there = self._last(self.x)
            return self._scan(self.steps.prepare(last), there, self.initial, _nothing)[:2]
        if hasattr(self.steps, "windows"):  # a diagonal recurrence, whose windows are zero at first
            outputs, states = self.steps.windows(self.steps.prepare(self.x), self.k)
            return outputs, [self._at_end(s, i) for s, i in zip(states, self.initial)]
        start = [tf.broadcast_to(s, [self.time, *self._shape(s)]) for s in self.initial]
        return self._rounds(self.steps.prepare(self.x), start)

    def gradient(self, sequences):
        """The full recurrence; each output's gradient ends at the state k steps before it."""
        z = self.steps.prepare(self.x)
        if not sequences:
            return self._scan(*self._last(z), self._state_before_last(z), _nothing)[:2]
        _, _, states = self._detached_scan(z, None, _states)
        # A window that holds the whole sequence reaches the initial state as well.
        detached = [_unless(self.k > self.time, s) for s in self.initial]
        return self._rounds(z, [_shifted(s, first) for s, first in zip(states, detached)])

    def chunk(self, sequences, cut=None):
        """The full recurrence; the gradient through the state is cut before k, 2k, 3k, ...

        `cut(t, states)` may detach more of the states that enter step t.
        """

        def boundary(t, states):
            states = states if cut is None else cut(t, states)
            passes = (t == 0) | (t % self.k != 0)
            return [_unless(passes, s) for s in states]

        z = self.steps.prepare(self.x)
        keep = _outputs if sequences else _nothing
        last, states, kept = self._scan(z, self.real(), self.initial, keep, boundary)
        return (kept[0] if sequences else last), states

    def _rounds(self, z, entering):
        """k steps of all windows, the first from the states `entering` [T, B, n] each t."""
        rounds = _least(self.k, self.time)
        with self.steps.repeated(self.time):

            def advance(_, *states):
                _, states = self._step_all(z, states)
                return [_like(_shifted(s, i), e) for s, i, e in zip(states, self.initial, entering)]

            entering = time_loop(advance, entering, _at_least_zero(rounds - 1), unroll=1)
            outputs, states = self._step_all(z, entering)
        return outputs, [self._at_end(s, i) for s, i in zip(states, self.initial)]

    def _step_all(self, z, states):
        rows = [tf.reshape(v, [-1, v.shape[-1]]) for v in (z, *states)]
        output, states = self.steps.step(rows[0], rows[1:], self.structure)
        back = [tf.reshape(v, [self.time, self.batch, v.shape[-1]]) for v in (output, *states)]
        return back[0], back[1:]

    def _at_end(self, states, initial):
        """The states after each row's last real step, the initial one where there is none."""
        states = tf.concat([initial[None], states], 0)
        if self.count is None:
            return states[-1]
        return tf.gather(tf.transpose(states, [1, 0, 2]), self.count, batch_dims=1)

    def _last(self, values):
        """Each row's last k of `values [T, B, G]` as `[k, B, G]`, and which exist `[k, B]`."""
        k = _least(self.k, self.time)
        index = tf.range(k)[:, None] + (self._counts() - k)[None]
        rows = tf.transpose(values, [1, 0, 2])
        last = tf.gather(rows, tf.transpose(tf.maximum(index, 0)), batch_dims=1)
        return tf.transpose(last, [1, 0, 2]), index >= 0

    def _state_before_last(self, z):
        """The full recurrence's state k steps before each row's end, detached unless initial."""
        before = self._counts() - self.k
        real = tf.range(self.time)[:, None] < before[None]
        _, states, _ = self._detached_scan(z, real, _nothing)
        return [
            tf.where((before < 0)[:, None], first, state)
            for first, state in zip(self.initial, states)
        ]

    def _detached_scan(self, z, real, keep):
        initial = [tf.stop_gradient(s) for s in self.initial]
        result = self._scan(tf.stop_gradient(z), real, initial, keep)
        return tf.nest.map_structure(tf.stop_gradient, result)

    def _scan(self, z, real, states, keep, cut=None):
        """Step after step from `states`; where `real [T, B]` is False the step does not happen.

        `keep(output, states)` lists what to collect at every step. Returns `(last output [B, U],
        final states, what was collected [T, B, n])`.
        """
        time, first = static_or_dynamic(z, 0), list(states)
        source = tf.TensorArray(z.dtype, time, element_shape=z.shape[1:]).unstack(z)
        output = tf.zeros([self.batch, output_size(self.steps.cell)], self.steps.dtype)
        # A place more than steps: TensorFlow cannot stack none of an unknown shape.
        arrays = [
            tf.TensorArray(v.dtype, time + 1, element_shape=v.shape).write(0, v)
            for v in keep(output, first)
        ]

        def step(t, output, *rest):
            states, arrays = list(rest[: len(first)]), rest[len(first) :]
            given = states if cut is None else cut(t, states)
            new_output, new_states = self.steps.step(source.read(t), given, self.structure)
            if real is not None:
                happens = real[t][:, None]
                new_output = tf.where(happens, new_output, output)
                new_states = [tf.where(happens, n, o) for n, o in zip(new_states, states)]
            output = _like(new_output, output)
            states = [_like(n, o) for n, o in zip(new_states, states)]
            kept = keep(output, states)
            return output, *states, *(a.write(t + 1, v) for a, v in zip(arrays, kept))

        output, *rest = time_loop(step, (output, *first, *arrays), time, unroll=1)
        return output, rest[: len(first)], [a.stack()[1:] for a in rest[len(first) :]]

    def _counts(self):
        return tf.fill([self.batch], self.time) if self.count is None else self.count

    def real(self):
        """Which steps are real, `[T, B]`; None where all are."""
        if self.count is None:
            return None
        return tf.range(self.time)[:, None] < self.count[None]

    def _shape(self, state):
        return [self.batch, state.shape[-1]]


def _nothing(output, states):
    return []


def _outputs(output, states):
    return [output]


def _states(output, states):
    return states


def _shifted(states, first):
    return _like(tf.concat([first[None], states], 0)[:-1], states)


def _unless(passes, value):
    """`value`, its gradient cut unless `passes`."""
    return tf.where(passes, value, tf.stop_gradient(value))


def _like(value, reference):
    value.set_shape(reference.shape)
    return value


def _least(k, time):
    return min(k, time) if isinstance(time, int) else tf.minimum(k, time)


def _at_least_zero(value):
    return max(value, 0) if isinstance(value, int) else tf.maximum(value, 0)
