"""Adam's step for each weight, against the steps that Adam takes."""

import keras
import numpy as np
import pytest

from rnnzoo import diagnostics


@pytest.fixture
def trained():
    """A weight after three steps, and the gradients of these."""
    weight = keras.Variable(np.zeros(3, "float32"), name="w")
    adam = keras.optimizers.Adam(0.1)
    gradients = np.array([[1.0, -2.0, 0.1], [0.5, 3.0, 0.0], [-1.0, 1.0, 0.2]], "float32")
    for gradient in gradients:
        adam.apply([keras.ops.array(gradient)], [weight])
    return weight, adam, gradients


def test_all_ones_is_the_next_step_were_its_gradient_1(trained):
    weight, adam, _ = trained
    found = diagnostics.effective_learning_rate(adam, "ones")["w"]
    before = weight.numpy()
    adam.apply([keras.ops.ones(3)], [weight])
    np.testing.assert_allclose(found, before - weight.numpy(), rtol=1e-5, atol=1e-7)


def test_the_last_step_is_the_rate_times_the_mean_gradient(trained):
    weight, adam, gradients = trained
    shown = np.zeros(3)
    for gradient in gradients[:-1]:
        shown = 0.9 * shown + 0.1 * gradient
    m = 0.9 * shown + 0.1 * gradients[-1]
    twin, other = keras.Variable(np.zeros(3, "float32")), keras.optimizers.Adam(0.1)
    for gradient in gradients[:-1]:
        other.apply([keras.ops.array(gradient)], [twin])
    step = twin.numpy() - weight.numpy()
    found = diagnostics.effective_learning_rate(adam)["w"]
    np.testing.assert_allclose(found * m / (1 - 0.9**3), step, rtol=1e-4)


def test_the_callback_records_every_other_epoch():
    model = keras.Sequential([keras.Input((None, 1)), keras.layers.SimpleRNN(2)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    record = diagnostics.EffectiveLearningRate(every=2)
    x, y = np.ones([4, 3, 1], "float32"), np.ones([4, 2], "float32")
    model.fit(x, y, epochs=5, verbose=0, callbacks=[record])
    assert record.epochs == [2, 4]
    assert list(record.rates[0]) == [v.path for v in model.trainable_variables]
    last = diagnostics.effective_learning_rate(model.optimizer)
    path = model.trainable_variables[1].path
    assert record.rates[0][path].shape == last[path].shape == (2, 2)
    assert not np.array_equal(record.rates[0][path], record.rates[1][path])
    assert len(record.plot().axes[0].lines) == 3


def test_bad_input():
    with pytest.raises(TypeError, match=r"`optimizer` must be a keras.optimizers.Adam or AdamW"):
        diagnostics.effective_learning_rate(keras.optimizers.SGD())
    with pytest.raises(TypeError, match="without amsgrad"):
        diagnostics.effective_learning_rate(keras.optimizers.Adam(amsgrad=True))
    with pytest.raises(ValueError, match="must have taken a step"):
        diagnostics.effective_learning_rate(keras.optimizers.Adam())
    with pytest.raises(ValueError, match=r"`gradient` must be .* Received: gradient='zeros'"):
        diagnostics.effective_learning_rate(keras.optimizers.Adam(), "zeros")
    with pytest.raises(ValueError, match=r"`every` .* Received: every=0"):
        diagnostics.EffectiveLearningRate(0)
    with pytest.raises(ValueError, match="A plot needs a recorded epoch"):
        diagnostics.EffectiveLearningRate().plot()
