"""The life of an LRU as a Keras layer: precision, files, wrappers, configuration, wrong use."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers import LRU
from rnnzoo.layers.lru import LRUCell
from tests.references.lru_layers import EVERYTHING, built, normal


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_weights_and_state_in_float32(policy):
    layer = built(dtype=policy, stateful=True, batch=2, **EVERYTHING)
    exact = built(dtype="float32", stateful=True, batch=2, **EVERYTHING)
    assert {w.dtype for w in layer.weights} == {"float32"}
    half = tf.as_dtype(layer.compute_dtype)
    x = tf.cast(normal(2, 9, 3), half)
    with tf.GradientTape() as tape:
        y, *state = layer(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, "float32") ** 2)
    assert [y.dtype, *(s.dtype for s in state)] == [half, tf.float32, tf.float32]
    wanted, *exact_state = exact(tf.cast(x, "float32"), training=True)
    np.testing.assert_array_equal(state, exact_state)
    np.testing.assert_array_equal(y, tf.cast(wanted, half))
    assert all(g.dtype == tf.float32 for g in tape.gradient(loss, layer.trainable_weights))
    # The carried state, too: neither Keras's casts nor a variable's autocast may round it.
    np.testing.assert_array_equal(layer(x)[1:], exact(tf.cast(x, "float32"))[1:])
    given = layer(x, initial_state=state)[1:]
    np.testing.assert_array_equal(given, exact(tf.cast(x, "float32"), initial_state=state)[1:])
    symbolic = layer(keras.KerasTensor([2, 9, 3], dtype=half.name))
    assert [s.dtype for s in symbolic] == [half.name, "float32", "float32"]
    outputs, states = layer.cell(x[:, 0], layer.get_initial_state(2))
    assert [outputs.dtype, states[0].dtype] == [half, tf.float32]


def small_model(**options):
    model = keras.Sequential(
        [
            keras.Input([None, 3]),
            keras.layers.Masking(),
            LRU(4, return_sequences=True, seed=1, **options),
            keras.layers.Bidirectional(LRU(3, state_size=5, seed=2, **options)),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", jit_compile=False)
    return model


@pytest.mark.slow
def test_stacked_and_bidirectional_models_learn_and_come_back_from_a_file(tmp_path):
    model = small_model(r_min=0.5, parametrization="tanh")
    x = normal(8, 12, 3).astype("float32")
    x[2, 7:] = 0
    y = x.sum((1, 2))[:, None] / 6
    history = model.fit(x, y, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.layers[1].get_config() == model.layers[1].get_config()


def test_bidirectional_hands_on_states():
    layer = keras.layers.Bidirectional(built(**EVERYTHING), dtype="float64")
    x = normal(2, 7, 3)
    y, *states = layer(x)
    assert len(states) == 4
    again, *_ = layer(x, initial_state=[tf.zeros([2, 4], tf.float64)] * 4)
    np.testing.assert_allclose(again, y, atol=1e-14)
    flipped = layer.backward_layer(x)[0][:, ::-1]
    np.testing.assert_allclose(y, np.concatenate([layer.forward_layer(x)[0], flipped], -1))


@pytest.mark.slow
def test_exports_with_dynamic_batch_and_time(tmp_path):
    model = small_model(r_max=0.9)
    model.export(str(tmp_path / "served"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    for b, t in [(1, 1), (5, 40)]:
        x = normal(b, t, 3).astype("float32")
        np.testing.assert_allclose(served.serve(x), model(x), atol=1e-6)


def test_can_be_built_while_its_first_call_is_traced():
    layer = LRU(3, seed=5)
    x = tf.constant(normal(2, 4, 3).astype("float32"))
    traced = tf.function(layer, autograph=False)(x)
    np.testing.assert_allclose(traced, layer(x), atol=1e-6)


def test_the_configuration_holds_every_argument():
    options = {
        "units": 3,
        "state_size": 6,
        "parametrization": "tanh",
        "normalization": None,
        "r_min": 0.2,
        "r_max": 0.9,
        "max_phase": 1.0,
        "seed": 7,
        "form": "autodiff",
        "return_sequences": True,
        "return_state": True,
        "go_backwards": True,
        "zero_output_for_mask": True,
        "name": "mine",
    }
    config = LRU(**options).get_config()
    assert {k: config[k] for k in options} == options
    assert set(inspect.signature(LRU).parameters) - {"kwargs"} <= set(config)
    assert LRU.from_config(config).get_config() == config
    cell = LRUCell(3, state_size=6, seed=1)
    assert LRUCell.from_config(cell.get_config()).get_config() == cell.get_config()
    assert LRU(3).get_config()["state_size"] is None


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"units": 0}, ValueError, "`units` must be an integer of at least 1.*units=0"),
        ({"units": 2.5}, TypeError, "`units` must be an integer"),
        ({"state_size": -1}, ValueError, "`state_size` must be .*at least 1.*state_size=-1"),
        ({"state_size": "4"}, TypeError, "`state_size` must be an integer"),
        ({"parametrization": "exp"}, ValueError, "`parametrization` must be one of 'exponential'"),
        ({"normalization": "l2"}, ValueError, "`normalization` must be one of 'learned', 'fixed'"),
        ({"r_min": 1.0}, ValueError, r"`r_min` must be a number in \[0, 1\).*r_min=1.0"),
        ({"r_min": -0.1}, ValueError, "`r_min` must be a number"),
        ({"r_min": 0.8, "r_max": 0.7}, ValueError, r"`r_min` must be a number in \[0, 0.7\]"),
        ({"r_max": 1.5}, ValueError, r"`r_max` must be a number in \(0, 1\]"),
        ({"r_max": "1"}, TypeError, "`r_max` must be a number"),
        ({"max_phase": 7}, ValueError, "`max_phase` must be a number in"),
        ({"max_phase": 0}, ValueError, "`max_phase` must be a number in"),
        ({"parametrization": "tanh"}, ValueError, "`r_min` must be positive with .*'tanh'"),
        ({"seed": -2}, ValueError, "`seed` must be an integer of at least 0"),
        ({"form": "best"}, ValueError, "`form` must be one of"),
        ({"unroll": True}, ValueError, "`unroll` must be False"),
        ({"return_sequences": 2}, TypeError, "`return_sequences` must be True or False"),
        ({"activation": "tanh"}, ValueError, "Unrecognized keyword arguments.*activation"),
    ],
)
def test_wrong_arguments(wrong, error, message):
    with pytest.raises(error, match=message):
        LRU(**{"units": 3, **wrong})


def test_wrong_calls():
    layer = built(name="mine")
    with pytest.raises(ValueError, match=r"`sequences` of mine must have the shape"):
        layer(normal(2, 3))
    with pytest.raises(ValueError, match=r"`mask` of mine must have the shape"):
        layer(normal(2, 3, 3), mask=np.ones([2, 4], bool))
    with pytest.raises(ValueError, match=r"`initial_state` of mine must be 2 tensor"):
        layer(normal(2, 3, 3), initial_state=[normal(2, 4)])
    with pytest.raises(ValueError, match=r"`initial_state` of mine must be 2 tensor"):
        layer(normal(2, 3, 3), initial_state=[normal(2, 4), normal(2, 5)])
    with pytest.raises(ValueError, match="last axis of the inputs"):
        LRU(3).build([None, None, None])
