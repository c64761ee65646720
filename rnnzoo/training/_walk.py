"""The walk of truncated BPTT over a batch, window by window."""

from functools import partial

import tensorflow as tf

from rnnzoo.training._windows import cut_time


class Walk:
    """Takes a batch through all of its windows; loops stand outside of the replicas.

    Args:
        windows: The `Windows` that are run; their `explicit` is the model's `ExplicitState`.
        learn: What learns from a window, a `WindowUpdate`.
        replicas: Where windows are run, see `_replicas.of`.
    """

    def __init__(self, windows, learn, replicas):
        self.windows, self.learn, self.replicas = windows, learn, replicas
        self.explicit, self.k1 = windows.explicit, windows.k1

    def __call__(self, data, state, steps):
        """Walk through a batch.

        Args:
            data: `(x, y, sample_weight)`, `x` as `ExplicitState.flat_inputs` gives it.
            state: The state before the first step.
            steps: The number of time steps, a scalar tensor.

        Returns:
            The loss, averaged over time steps, and the state after the last one.
        """
        walk = self._strides if self.explicit.output_has_time[0] else self._to_the_end
        return walk(data, state, steps)

    def _strides(self, data, state, steps):
        """Outputs over time: one update a stride.

        The last stride stands after the loop. It may be shorter, and recurrences compile for known
        lengths; and its state is the batch's, where the others' is that at the next window's begin.
        """

        def update(window, state, begin, end, length):
            cut = self.replicas.run(partial(self._cut, length=length), *data, begin, end)
            return self.learn(partial(window, length=length), (data[0], state, begin, end), cut)

        def stride(begin, state, loss_sum, count):
            end = begin + self.k1
            loss, weight, state = update(self.windows.stride, state, begin, end, self.k1)
            return end, state, loss_sum + loss * weight, count + weight

        known = self.explicit.static_time_steps(self.replicas.first(data[0]))
        walked = (tf.constant(0), state, tf.constant(0.0), tf.constant(0.0))
        if known is None or known > self.k1:
            walked = tf.while_loop(
                lambda begin, *_: begin + self.k1 < steps, stride, walked, parallel_iterations=1
            )
        begin, state, loss_sum, count = walked
        length = None if known is None else known % self.k1 or min(known, self.k1)
        loss, weight, state = update(self.windows.last, state, begin, steps, length)
        return tf.math.divide_no_nan(loss_sum + loss * weight, count + weight), state

    def _cut(self, x, y, sample_weight, begin, end, length):
        """A stride's inputs, targets and weights."""
        weights = cut_time(sample_weight, begin, end, per_row=True)
        return self.explicit.slice_time(x, begin, end, length), cut_time(y, begin, end), weights

    def _to_the_end(self, data, state, steps):
        """Outputs at the end alone: forward up to the last window, then one update on it."""
        x, y, sample_weight = data
        first = tf.maximum(0, steps - self.k1 - self.windows.reach)

        def forward(x, state, begin, end):
            return self.windows.forward(x, state, begin, end)[1]

        def body(begin, state):
            end = tf.minimum(begin + self.k1, first)
            return end, self.replicas.run(forward, x, state, begin, end)

        _, state = tf.while_loop(
            lambda begin, _: begin < first, body, (tf.constant(0), state), parallel_iterations=1
        )
        end = self.replicas.run(self.explicit.slice_time, x, first, steps)
        given = x, state, first, steps
        loss, _, state = self.learn(self.windows.forward, given, (end, y, sample_weight))
        return loss, state
