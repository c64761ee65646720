"""Averages of the weights over a training, which are validated and kept in place of the weights."""

import contextlib
import functools

import keras
import tensorflow as tf

from rnnzoo import _checks, _keras


class Averages(keras.callbacks.Callback):
    r"""Exponential moving averages of a model's trainable weights, updated after every batch.

    $$a_{n+1} = d_n a_n + (1 - d_n) w_{n+1},\qquad d_n = \min\big(d, \tfrac{1 + n}{10 + n}\big)$$

    with $w_n$ the weights after $n$ batches and $a_0 = w_0$. While Keras validates, the model holds
    the averages, each projected by its weight's constraint: an average of allowed matrices need
    not be allowed itself, and rounds. Weights that are not trained stay what they are.

    Args:
        model: a built `keras.Model` that is made outside of distribution strategies.
        decay: $d$, in [0, 1).

    Source: the exponential moving average of TensorFlow (`num_updates`); Polyak & Juditsky,
    *Acceleration of Stochastic Approximation by Averaging* (1992).
    """

    def __init__(self, model, decay):
        super().__init__()
        self.decay = _checks.real("average", decay, 0.0, 1.0, high_open=True)
        if _keras.strategy_of(model) is not None:
            raise ValueError(
                "`average` must be None for a model of several workers or replicas. "
                f"Received: average={decay!r}"
            )
        self._weights = list(model.trainable_variables)
        self.variables = [
            tf.Variable(keras.ops.convert_to_tensor(weight), trainable=False)
            for weight in self._weights
        ]
        # A partial, since TensorFlow warns of many graphs of one function, here one for each model.
        update = functools.partial(_update, list(zip(self.variables, self._weights)))
        self._update = tf.function(update, autograph=False)
        self._put_aside, self._batches = None, 0

    def decay_of(self, batches):
        """The decay of the update after that many batches."""
        return min(self.decay, (1 + batches) / (10 + batches))

    def on_epoch_begin(self, epoch, logs=None):
        # Where the training stands is all that the decay needs, so that nothing more is kept.
        self._batches = epoch * self.params["steps"]

    def on_train_batch_end(self, batch, logs=None):
        decay = self.decay_of(self._batches + batch)
        self._update(tf.constant(decay, tf.float64), tf.constant(1.0 - decay, tf.float64))

    def on_test_begin(self, logs=None):
        self._use()

    def on_test_end(self, logs=None):
        self._put_back()

    @contextlib.contextmanager
    def used(self):
        """While this lasts, the model holds the averages."""
        self._use()
        try:
            yield
        finally:
            self._put_back()

    def _use(self):
        self._put_aside = [tf.identity(keras.ops.convert_to_tensor(w)) for w in self._weights]
        for average, weight in zip(self.variables, self._weights):
            value = tf.convert_to_tensor(average)
            weight.assign(value if weight.constraint is None else weight.constraint(value))

    def _put_back(self):
        for value, weight in zip(self._put_aside, self._weights):
            weight.assign(value)
        self._put_aside = None


def _update(pairs, decay, rest):
    for average, weight in pairs:
        value = keras.ops.convert_to_tensor(weight)
        kind = value.dtype
        average.assign(tf.cast(decay, kind) * average + tf.cast(rest, kind) * value)
