"""The loss of a batch, on one device or on many: of its data, and its penalty.

The two are kept apart because replicas weigh them differently: data by time steps, penalties by
rows.
"""

import keras
import tensorflow as tf

from rnnzoo import _keras


def penalty_of(model):
    """The sum of a model's own losses, of its weights and of what it has computed last."""
    penalties = [tf.reduce_sum(tf.cast(value, tf.float32)) for value in model.losses]
    return tf.add_n(penalties) if penalties else tf.constant(0.0)


class OwnLoss:
    """The loss of a batch: of its data and its penalty; its rows, and the steps it averages.

    `loss` is what `compute_loss` makes of the data, and the penalty a float32 beside it.
    """

    def __init__(self, model, loss, penalty, y_pred):
        outputs = keras.tree.flatten(y_pred)
        self.model = model
        self.parts = [loss, tf.cast(penalty, loss.dtype)]
        self.shares = [tf.ones_like(loss) for _ in self.parts]
        self.rows = tf.shape(outputs[0])[0]
        self.count = _count_steps(outputs[0], _keras.mask_of(outputs[0]))

    def value(self):
        return tf.add_n(self.parts)

    def gradients(self, tape):
        """The gradient as the optimizer wants it; None for what the loss does not depend on."""
        scaled = [self.model.optimizer.scale_loss(share) for share in self.shares]
        variables = self.model.trainable_variables
        return tape.gradient(self.parts, variables, output_gradients=scaled)


class SharedLoss(OwnLoss):
    r"""A loss that is an average over the rows or time steps of all replicas.

    $$\ell = \sum_r \frac{n_r}{\sum_s n_s}\, d_r + \sum_r \frac{b_r}{\sum_s b_s}\, p_r$$

    with the data's loss $d_r$ of a replica, its unmasked time steps $n_r$, its rows $b_r$ and its
    penalty $p_r$ (which Keras divides by the rows, if it depends on data). Made in a replica, under
    the tape. `loss` is what Keras computes there: $d_r / R$.
    """

    def __init__(self, replicas, model, loss, penalty, y_pred):
        super().__init__(model, loss, penalty, y_pred)
        _check_masks(y_pred)
        self.replicas = replicas
        self.parts[0] *= tf.cast(replicas.strategy.num_replicas_in_sync, loss.dtype)
        own = tf.stack([self.count, tf.cast(self.rows, tf.float32)])
        total = replicas.sum(own)
        self.count = total[0]
        self.shares = tf.unstack(tf.cast(tf.math.divide_no_nan(own, total), loss.dtype))

    def value(self):
        """The loss of all."""
        return self.replicas.sum(tf.tensordot(self.shares, self.parts, 1))

    def gradients(self, tape):
        found = super().gradients(tape)
        summed = iter(self.replicas.sum([g for g in found if g is not None]))
        return [None if g is None else next(summed) for g in found]


def _check_masks(y_pred):
    outputs = keras.tree.flatten(y_pred)
    if len(outputs) > 1 and any(_keras.mask_of(output) is not None for output in outputs):
        raise ValueError(
            "`model` must have a single output if it is masked, where a strategy has replicas: "
            "their losses are averages over one number of steps. Received: "
            f"{len(outputs)} outputs"
        )


def _count_steps(output, mask):
    """How many steps of the stride the loss is an average over."""
    if mask is not None:
        return tf.reduce_sum(tf.cast(mask, tf.float32))
    return tf.cast(tf.reduce_prod(tf.shape(output)[:2]), tf.float32)
