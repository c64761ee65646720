"""The models that tasks build: the layer given, the published head, and one step of training."""

import numpy as np
import pytest

from rnnzoo import tasks


def copy_task(**options):
    sizes = {"train_size": 40, "validation_size": 20, "test_size": 20, "batch_size": 20}
    return tasks.get("copy", **{"delay": 3, **sizes, **options})


def adding_task():
    return tasks.get("adding", length=8, train_size=40, validation_size=20, batch_size=20)


@pytest.mark.parametrize("make", [copy_task, adding_task])
def test_one_epoch_of_fit_moves_the_weights(make):
    import keras

    task = make()
    model = task.build_model(keras.layers.LSTM(6))
    model.compile(task.optimizer(), task.loss, metrics=task.metrics)
    before = model.get_weights()
    history = model.fit(
        task.train, validation_data=task.validation, epochs=1, shuffle=False, verbose=0
    ).history
    assert task.monitor in history
    assert all((a != b).any() for a, b in zip(before, model.get_weights()))
    scores = model.evaluate(task.validation, return_dict=True, verbose=0)
    assert set(scores) == set(task.baseline)
    x, y = task.arrays("validation")
    assert scores["loss"] == pytest.approx(float(task.loss(y, model(x))), rel=1e-5)


def test_the_layer_given_is_in_the_model_and_gives_every_step():
    import keras

    layer = keras.layers.LSTM(6)
    model = copy_task().build_model(layer)
    assert layer in model.layers
    assert layer.return_sequences is True
    assert model.output_shape == (None, None, 9)
    assert model.input_shape == (None, None, 1)
    assert model(np.zeros((2, 77, 1), np.float32)).shape == (2, 77, 9)


def test_a_stack_gives_sequences_below_its_top():
    import keras

    layers = [keras.layers.GRU(5), keras.layers.LSTM(6, return_sequences=True)]
    model = adding_task().build_model(layers)
    assert [layer.return_sequences for layer in layers] == [True, False]
    assert model.output_shape == (None, 1)
    assert all(layer in model.layers for layer in layers)


@pytest.mark.parametrize("per_step", [True, False])
def test_bidirectional_inner_layers_follow(per_step):
    import keras

    layer = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=not per_step))
    task = copy_task() if per_step else adding_task()
    model = task.build_model(layer)
    inner = (layer, layer.forward_layer, layer.backward_layer)
    assert [part.return_sequences for part in inner] == [per_step] * 3
    x = np.random.default_rng(0).normal(size=(3, 5, task.input_shape[-1])).astype("float32")
    sequences = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=per_step))
    sequences.build(x.shape)
    sequences.set_weights(layer.get_weights())
    np.testing.assert_allclose(model.layers[1](x), sequences(x), atol=1e-6)
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)


def test_a_wrapper_and_the_layer_within_follow():
    import keras

    class Wrapper(keras.layers.Wrapper):
        return_sequences = False

        def call(self, sequences):
            return self.layer(sequences)

        def compute_output_shape(self, shape):
            return self.layer.compute_output_shape(shape)

    wrapper = Wrapper(keras.layers.LSTM(4))
    model = copy_task().build_model(wrapper)
    assert (wrapper.return_sequences, wrapper.layer.return_sequences) == (True, True)
    assert model(np.zeros((2, 5, 1), np.float32)).shape == (2, 5, 9)


def test_head_is_uniform_as_published():
    import keras

    head = copy_task().build_model(keras.layers.LSTM(400)).layers[-1]
    assert head.activation is keras.activations.linear
    for values in (head.kernel.numpy(), head.bias.numpy()):
        assert np.abs(values).max() <= 1 / 20
    # 3,600 uniform numbers: the largest is this near the bound but for one time in 10^15.
    assert np.abs(head.kernel.numpy()).max() > 0.99 / 20
    assert head.kernel.numpy().std() == pytest.approx(1 / 20 / np.sqrt(3), rel=0.03)


def test_logits_are_full_precision_under_mixed_precision():
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = copy_task().build_model(keras.layers.LSTM(4))
        assert (model.layers[1].compute_dtype, model.output.dtype) == ("bfloat16", "float32")
    finally:
        keras.config.set_dtype_policy("float32")


def test_what_cannot_be_built_on_is_refused():
    import keras

    task = copy_task()
    with pytest.raises(TypeError, match=r"`layer` must be a Keras recurrent layer .*Received"):
        task.build_model(keras.layers.Dense(3))
    with pytest.raises(TypeError, match="an instance, not a class"):
        task.build_model(keras.layers.LSTM)
    with pytest.raises(TypeError, match="Received: layer='lstm'"):
        task.build_model("lstm")
    with pytest.raises(ValueError, match=r"`layer` must be .* Received: layer=\[\]"):
        task.build_model([])
    with pytest.raises(ValueError, match="`return_state` of the layer states must be False"):
        task.build_model(keras.layers.LSTM(3, return_state=True, name="states"))
    with pytest.raises(ValueError, match="`merge_mode` of the layer two must not be None"):
        task.build_model(
            keras.layers.Bidirectional(keras.layers.LSTM(3), merge_mode=None, name="two")
        )
    layer = keras.layers.LSTM(3, name="twice")
    with pytest.raises(ValueError, match=r"must not hold the same layer twice.*\['twice', 'twice'"):
        task.build_model([layer, layer])


def test_a_layer_built_with_the_other_setting_is_refused():
    import keras

    last, every = keras.layers.LSTM(3, name="last"), keras.layers.LSTM(3, return_sequences=True)
    last.build((None, None, 1))
    every.build((None, None, 1))
    with pytest.raises(ValueError, match=r"`return_sequences` of the layer last must be True here"):
        copy_task().build_model(last)
    assert last.return_sequences is False
    weights = every.get_weights()
    model = copy_task().build_model(every)
    assert all((a == b).all() for a, b in zip(weights, model.get_weights()))


def digit_tasks():
    return [tasks.get("digits"), tasks.get("smnist", downsample=7), tasks.get("pmnist", rows=True)]


@pytest.mark.parametrize("task", digit_tasks(), ids=lambda task: task.name)
def test_digits_take_a_pooling_and_an_mlp(task):
    import keras

    from rnnzoo.layers import RunningMean

    older = task.build_model(keras.layers.GRU(5))
    assert [type(layer).__name__ for layer in older.layers] == ["InputLayer", "GRU", "Dense"]
    assert older.layers[1].return_sequences is False
    model = task.build_model(keras.layers.GRU(5), pooling="mean", mlp=6, mlp_dropout=0.5)
    assert isinstance(model.get_layer("mean"), RunningMean)
    assert model.get_layer("mlp_dropout").rate == 0.5
    assert (model.name, model.layers[-1].name) == (task.name, "logits")
    x = np.random.default_rng(0).normal(size=(3, 7, task.input_shape[-1])).astype("float32")
    every = keras.layers.GRU(5, return_sequences=True)
    every.build(x.shape)
    every.set_weights(model.layers[1].get_weights())
    pooled = keras.Model(model.input, model.get_layer("mean").output)
    np.testing.assert_allclose(pooled(x), np.mean(every(x), axis=1), atol=1e-6)
    with pytest.raises(ValueError, match=r"`pooling` .* 'last', 'mean'.*pooling=None"):
        task.build_model(keras.layers.GRU(5), pooling=None)
