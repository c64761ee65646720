"""Turning h-detach off for the end of a training."""

import keras

from rnnzoo import _checks, _keras
from rnnzoo.layers.hdetach_lstm import HDetachLSTM


class HDetachAnnealing(keras.callbacks.Callback):
    """Set `p` of every `HDetachLSTM` in the model to another value for the last epochs.

    The model first finds its way with the detached gradient, then settles with the whole one. The
    epoch decides, so a training that is resumed anneals where an uninterrupted one does. After
    training every layer has its own `p` again.

    Args:
        last_epochs: Positive integer, how many epochs at the end run with `p`. The h-detach code
            uses about 40 of 600.
        p: Probability in [0, 1]; 0 is the plain LSTM.

    Raises:
        ValueError: For arguments out of range, for a model without an HDetachLSTM, and where
            `last_epochs` is more than the epochs of the training.

    Source: the `anneal-p` option of the code of Arpit et al. (2018).

    Example:

    >>> callback = HDetachAnnealing(last_epochs=2)
    >>> callback.p
    0.0
    """

    def __init__(self, last_epochs: int, p: float = 0.0):
        super().__init__()
        self.last_epochs = _checks.integer("last_epochs", last_epochs)
        self.p = _checks.probability("p", p)
        self._layers = []

    def on_train_begin(self, logs=None):
        layers = _keras.flat_layers(self.model)
        self._layers = [(layer, layer.p) for layer in layers if isinstance(layer, HDetachLSTM)]
        if not self._layers:
            raise ValueError(
                "HDetachAnnealing needs a model with at least one HDetachLSTM. "
                f"Received: model={self.model.name!r}"
            )
        if self.last_epochs > self.params["epochs"]:
            raise ValueError(
                f"`last_epochs` must be at most the {self.params['epochs']} epochs of the "
                f"training. Received: last_epochs={self.last_epochs}"
            )

    def on_epoch_begin(self, epoch, logs=None):
        annealed = epoch >= self.params["epochs"] - self.last_epochs
        for layer, p in self._layers:
            layer.p = self.p if annealed else p

    def on_train_end(self, logs=None):
        for layer, p in self._layers:
            layer.p = p
