"""HDetachAnnealing changes p when it should, on every layer it should, and gives it back."""

import keras
import numpy as np
import pytest

from rnnzoo.layers import HDetachLSTM
from rnnzoo.training import HDetachAnnealing


def model_and_layers():
    inner = HDetachLSTM(2, p=0.5, return_sequences=True)
    outer = keras.layers.Bidirectional(HDetachLSTM(2, p=0.25))
    model = keras.Sequential([keras.Input((None, 1)), inner, outer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model, [inner, outer.forward_layer, outer.backward_layer]


def fit(model, layers, **options):
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append([layer.p for layer in layers])
    )
    callbacks = [HDetachAnnealing(last_epochs=2, p=0.1), record]
    model.fit(np.ones([2, 3, 1]), np.ones([2, 1]), verbose=0, callbacks=callbacks, **options)
    return seen


def test_last_epochs_run_with_the_new_p():
    model, layers = model_and_layers()
    assert fit(model, layers, epochs=4) == [[0.5, 0.25, 0.25]] * 2 + [[0.1] * 3] * 2
    assert [layer.p for layer in layers] == [0.5, 0.25, 0.25]


def test_a_resumed_training_anneals_at_the_same_epochs():
    model, layers = model_and_layers()
    assert fit(model, layers, initial_epoch=1, epochs=4) == [[0.5, 0.25, 0.25]] + [[0.1] * 3] * 2


def test_refusals():
    model, layers = model_and_layers()
    with pytest.raises(ValueError, match="`last_epochs` must be at most the 1 epochs"):
        fit(model, layers, epochs=1)
    plain = keras.Sequential([keras.Input((None, 1)), keras.layers.LSTM(1)])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match="at least one HDetachLSTM"):
        fit(plain, [], epochs=4)
    with pytest.raises(ValueError, match=r"Received: p=3"):
        HDetachAnnealing(2, p=3)
    with pytest.raises(ValueError, match=r"Received: last_epochs=0"):
        HDetachAnnealing(0)
