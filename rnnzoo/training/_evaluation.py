"""Evaluation of a model as a function of its state, which may be carried from batch to batch."""

import keras
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.training._losses import penalty_of


class CarriedEvaluation:
    """The test step of a model that is trained by truncated BPTT.

    Args:
        model: The trainer, whose `compute_loss` is the loss of the data alone.
        explicit: The `ExplicitState` that carries its state.
        replicas: Where batches are evaluated, see `_replicas.of`.
        carried: The `CarriedState` between batches; None begins every batch at zero.
    """

    def __init__(self, model, explicit, replicas, carried):
        self.model, self.explicit = model, explicit
        self.replicas, self.carried = replicas, carried

    def reset(self):
        """Begin the next batch at zero."""
        if self.carried is not None:
            self.replicas.run(self.carried.reset)

    def step(self, data):
        """One batch, in a replica: metrics are updated, and their results returned."""
        model, (x, y, sample_weight) = self.model, keras.utils.unpack_x_y_sample_weight(data)
        inputs = self.explicit.flat_inputs(x)
        batch, steps = tf.shape(next(iter(inputs.values())))[0], 1
        if self.carried is None:
            y_pred = model(x, training=False)
            penalty = penalty_of(model.model)
        else:
            state = self.carried.read(self.explicit.initial_state(batch), batch)
            y_pred, state = self.explicit(inputs, state, training=False)
            self.carried.write(state, batch)
            penalty = penalty_of(self.explicit.model)
            # The last batch of a stream has fewer steps than the others.
            steps = self.explicit.time_steps(inputs) if self.explicit.output_has_time[0] else 1
        loss = model.compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False
        )
        loss = self.replicas.loss(model, loss, penalty, y_pred).value()
        _keras.loss_tracker(model).update_state(loss, sample_weight=batch * steps)
        return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
