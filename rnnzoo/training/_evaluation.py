"""Evaluation that carries the state from batch to batch."""

import keras
import tensorflow as tf

from rnnzoo.training import _replicas
from rnnzoo.training._steps import with_plain_errors


class CarriedEvaluation(keras.Model):
    """`evaluate` of a stateful model: zero state at its begin, then from batch to batch.

    The state is another one than that carried in training. The class that is mixed with this one
    has `stateful`, `_explicit`, `_together` (see `_replicas`) and `_evaluated`, a
    `CarriedState`.
    """

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            if self._distribute_strategy is None:
                super().make_test_function(force)
            else:
                run = self._together.run
                self.test_function = _replicas.make_function(
                    self, lambda data: run(self.test_step, data)
                )
            self.test_function = with_plain_errors(self.test_function)
        return self.test_function

    def evaluate(self, *args, **kwargs):
        self._together.run(self._evaluated.reset)
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._together.run(self._evaluated.reset)

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch, steps = tf.shape(keras.tree.flatten(x)[0])[0], 1
        if self.stateful:
            state = self._evaluated.read(self._explicit.initial_state(batch), batch)
            y_pred, state = self._explicit(x, state, training=False)
            self._evaluated.write(state, batch)
            # The last batch of a stream has fewer steps than the others.
            steps = self._explicit.time_steps(x) if self._explicit.output_has_time[0] else 1
        else:
            y_pred = self(x, training=False)
        loss = self._compute_loss(x, y, y_pred, sample_weight, training=False)
        loss = self._together.loss(self, loss, y_pred).value()
        self._loss_tracker.update_state(loss, sample_weight=batch * steps)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
