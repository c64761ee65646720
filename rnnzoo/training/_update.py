"""One optimizer step of truncated BPTT: on the loss of a window."""

from functools import partial

import keras
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.training._steps import StepWeighted, stop_on
from rnnzoo.training._windows import some_weight


class WindowUpdate:
    """Takes the optimizer step of a window and updates the metrics; `_measure` runs in replicas.

    Args:
        model: The trainer, whose `compute_loss` is the loss of the data alone.
        explicit: The `ExplicitState` that windows are run with.
        replicas: Where the step is taken, see `_replicas.of`.
    """

    def __init__(self, model, explicit, replicas):
        self.model, self.explicit, self.replicas = model, explicit, replicas

    def __call__(self, window, given, data):
        """Learn from one window, unless all of its weights are zero.

        Args:
            window: `window(*given) -> (y_pred, state, penalty)`, called in the replicas.
            given: What the window is called with.
            data: `(x, y, sample_weight)` of the steps whose loss counts.

        Returns:
            The loss, the number of steps that it averages, and the window's state, whose gradient
            is cut.
        """
        if data[2] is None:
            return self._update(window, given, data, True)
        some = self.replicas.run(lambda weight: self.replicas.any(some_weight(weight)), data[2])
        return tf.cond(
            self.replicas.first(some),
            lambda: self._update(window, given, data, True),
            lambda: self._update(window, given, data, False),
        )

    def _update(self, window, given, data, learn):
        measured, state = self.replicas.run(partial(self._measure, window, learn), given, data)
        loss, count, gradients, some = self.replicas.first(measured)
        if learn:
            self._apply(gradients, loss, some)
        return loss, count, state

    def _measure(self, window, learn, given, data):
        """In a replica: loss, steps, gradients and whether any step has a loss; the state."""
        model, (x, y, sample_weight) = self.model, data
        stride = self.explicit.time_steps(x) if self.explicit.output_has_time[0] else 1
        means = StepWeighted(model.metrics, _keras.loss_tracker(model), stride)
        with tf.GradientTape() as tape:
            y_pred, state, penalty = window(*given)
            loss = model.compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            shared = self.replicas.loss(model, loss, penalty, y_pred)
        gradients, some = [], None
        if learn:
            gradients = shared.gradients(tape)
            mask = _keras.mask_of(keras.tree.flatten(y_pred)[0])
            some = None if mask is None else self.replicas.any(some_weight(sample_weight, mask))
        compiled = _keras.compile_metrics(model)
        if compiled is not None and not compiled.built:
            # Keras builds them when they are first updated, which here is inside of a stride.
            compiled.build(y, y_pred)
            means.watch([compiled])
        model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        means.finish()
        state = tf.nest.map_structure(tf.stop_gradient, state)
        return (tf.cast(shared.value(), tf.float32), shared.count, gradients, some), state

    def _apply(self, gradients, loss, some):
        """Take the step, unless the mask leaves nothing that has a loss; that must be finite."""
        optimizer = self.model.optimizer
        stop = stop_on(
            tf.logical_not(tf.math.is_finite(loss)),
            "The loss is not finite at the optimizer step (counted from 0), loss: ",
            optimizer.iterations,
            loss,
        )
        with tf.control_dependencies(stop):
            gradients = [None if g is None else tf.identity(g) for g in gradients]

        def apply():
            self.replicas.apply(optimizer, gradients, self.model.trainable_variables)
            return True

        if some is None:
            apply()
        else:
            tf.cond(some, apply, lambda: True)
