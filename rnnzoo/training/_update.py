"""One optimizer step of truncated BPTT: on the loss of a window."""

from functools import partial

import keras
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.training._steps import StepWeighted, stop_on
from rnnzoo.training._windows import some_weight


class WindowUpdate(keras.Model):
    """The optimizer step of a model that is trained window by window.

    The class that is mixed with this one has `_explicit`, `_together` (see `_replicas`) and
    `_penalty`, which its `losses` are while a window is trained. Only `_measure` is run in the
    replicas of a distribution strategy.
    """

    def _update_if_weighted(self, window, given, data):
        """`_update`, with an optimizer step only where some weight is not zero."""
        if data[2] is None:
            return self._update(window, given, data, True)
        some = self._together.run(lambda weight: self._together.any(some_weight(weight)), data[2])
        return tf.cond(
            self._together.first(some),
            lambda: self._update(window, given, data, True),
            lambda: self._update(window, given, data, False),
        )

    def _update(self, window, given, data, learn):
        """The loss of a window and, if `learn`, an optimizer step on it; metrics are updated."""
        measured, states = self._together.run(partial(self._measure, window, learn), given, data)
        loss, count, gradients, some = self._together.first(measured)
        if learn:
            self._apply(gradients, loss, some)
        return loss, count, states

    def _measure(self, window, learn, given, data):
        """In a replica: loss, steps, gradients and whether any step has a loss; the states."""
        x, y, sample_weight = data
        stride = self._explicit.time_steps(x) if self._explicit.output_has_time[0] else 1
        means = StepWeighted(self.metrics, self._loss_tracker, stride)
        with tf.GradientTape() as tape:
            y_pred, states, self._penalty = window(*given)
            try:
                loss = self._compute_loss(x, y, y_pred, sample_weight, training=True)
                shared = self._together.loss(self, loss, y_pred)
            finally:
                self._penalty = None
        gradients, some = [], None
        if learn:
            gradients = shared.gradients(tape)
            mask = _keras.mask_of(keras.tree.flatten(y_pred)[0])
            some = None if mask is None else self._together.any(some_weight(sample_weight, mask))
        if self._compile_metrics is not None and not self._compile_metrics.built:
            # Keras builds them when they are first updated, which here is inside of a stride.
            self._compile_metrics.build(y, y_pred)
            means.watch([self._compile_metrics])
        self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        means.finish()
        states = tf.nest.map_structure(tf.stop_gradient, states)
        return (tf.cast(shared.value(), tf.float32), shared.count, gradients, some), states

    def _apply(self, gradients, loss, some):
        """Take the step, unless the mask leaves nothing that has a loss; that must be finite."""
        stop = stop_on(
            tf.logical_not(tf.math.is_finite(loss)),
            "The loss is not finite at the optimizer step (counted from 0), loss: ",
            self.optimizer.iterations,
            loss,
        )
        with tf.control_dependencies(stop):
            gradients = [None if g is None else tf.identity(g) for g in gradients]

        def apply():
            self._together.apply(self.optimizer, gradients, self.trainable_variables)
            return True

        if some is None:
            apply()
        else:
            tf.cond(some, apply, lambda: True)
