"""The state that truncated BPTT carries between batches."""

import keras
import tensorflow as tf

from rnnzoo.training._steps import stop_on


class CarriedState:
    """State variables of any batch size, and that size: 0 means that there is no state.

    A plain object, so that the variables do not become weights of the model.
    """

    def __init__(self, spec):
        self._empty = {n: tf.zeros([0, *shape], dtype) for n, (shape, dtype) in spec.items()}
        # Under a distribution strategy each replica has its own.
        own = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ}
        self._variables = {
            n: tf.Variable(v, shape=[None, *v.shape[1:]], **own) for n, v in self._empty.items()
        }
        self._size = tf.Variable(0, **own)

    def reset(self):
        self._size.assign(0)
        for name, variable in self._variables.items():
            variable.assign(self._empty[name])

    def read(self, zero, batch):
        """The stored state, or `zero` where there is none; another batch size is an error."""
        size = tf.convert_to_tensor(self._size)
        wrong = tf.logical_and(size > 0, tf.not_equal(size, batch))
        message = (
            "A stateful batch must have the size of the one before, whose state is carried "
            "(`reset_state()` forgets it). Sizes before and received: "
        )
        with tf.control_dependencies(stop_on(wrong, message, size, batch)):
            fresh = tf.equal(size, 0)
        state = tf.cond(
            fresh,
            lambda: dict(zero),
            lambda: {n: tf.convert_to_tensor(v) for n, v in self._variables.items()},
        )
        return {n: tf.ensure_shape(state[n], zero[n].shape) for n in zero}

    def write(self, state, batch):
        self._size.assign(batch)
        for name, value in state.items():
            self._variables[name].assign(value)


class ResetEachEpoch(keras.callbacks.Callback):
    """An epoch begins without state and leaves none behind."""

    def __init__(self, trainer):
        super().__init__()
        self.trainer = trainer

    def on_epoch_begin(self, epoch, logs=None):
        self.trainer.reset_state()

    def on_epoch_end(self, epoch, logs=None):
        self.trainer.reset_state()
