"""TransformerEncoder: causal, masked at the end, saved whole, and refused by a stream."""

import inspect
import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo
from rnnzoo import tasks
from rnnzoo.layers import TransformerEncoder

ARGUMENTS = {"units": 8, "levels": 2, "heads": 2, "max_length": 16, "seed": 1}
B, T, F = 2, 7, 3


def data(steps=T):
    return np.random.default_rng(1).normal(size=(B, steps, F)).astype("float32")


@pytest.fixture
def layer():
    layer = TransformerEncoder(**ARGUMENTS, return_sequences=True)
    layer.build([None, None, F])
    return layer


def test_the_gradient_of_the_positions_is_a_sum_and_no_list_of_summands(layer):
    """Of look-ups Keras would clip, and square, the summands, which replicas have more of."""
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(layer(data()) * tf.range(8.0))
    gradient = tape.gradient(y, layer.positions.embeddings)
    assert isinstance(gradient, tf.Tensor)
    assert (np.abs(gradient.numpy()).max(1) > 0).tolist() == [True] * T + [False] * (16 - T)


def test_it_is_causal_and_reaches_to_the_beginning(layer):
    x = tf.constant(data())
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(x)[:, 4] * tf.range(8.0))
    seen = np.abs(tape.gradient(y, x)).max((0, 2))
    assert (seen[:5] > 0).all()
    assert not seen[5:].any()


def test_padding_at_the_end_changes_no_real_step(layer):
    x, whole = data(), layer(data())
    lengths = np.array([7, 4])
    mask = tf.sequence_mask(lengths, T)
    x[1, 4:] = 100.0
    masked = layer(x, mask=mask)
    np.testing.assert_allclose(masked[0], whole[0], atol=1e-5)
    np.testing.assert_allclose(masked[1, :4], whole[1, :4], atol=1e-5)
    end = TransformerEncoder(**ARGUMENTS)
    end.build([None, None, F])
    end.set_weights(layer.get_weights())
    np.testing.assert_allclose(end(x, mask=mask)[1], whole[1, 3], atol=1e-5)
    np.testing.assert_allclose(end(data()), whole[:, -1], atol=1e-6)


def test_the_position_matters(layer):
    same = layer(tf.ones([1, 5, F]))
    assert np.abs(same[0, 1:] - same[0, :-1]).max(-1).min() > 1e-4


def test_config_saving_precision_and_shapes(tmp_path):
    layer = TransformerEncoder(**ARGUMENTS)
    config = json.loads(json.dumps(layer.get_config()))
    names = set(inspect.signature(TransformerEncoder.__init__).parameters) - {"self", "kwargs"}
    assert names <= set(config)
    model = keras.Sequential([keras.Input((None, F)), layer, keras.layers.Dense(1)])
    assert model.output_shape == (None, 1)
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(data(), np.ones([B, 1]), verbose=0)
    assert sum((a != b).any() for a, b in zip(before, model.get_weights())) > len(before) - 5
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(data()), model(data()), atol=1e-7)
    half = TransformerEncoder(**ARGUMENTS, dtype="mixed_float16")
    assert half(data()).dtype == "float16"
    assert {w.dtype for w in half.weights} == {"float32"}


def test_a_stream_refuses_it_by_name_and_an_export_says_why(tmp_path, caplog):
    model = keras.Sequential(
        [keras.Input((None, F)), TransformerEncoder(**ARGUMENTS, return_sequences=True, name="t")]
    )
    words = r"TransformerEncoder 't' may not pass: what its attention needs of the past grows"
    with pytest.raises(ValueError, match=words):
        rnnzoo.explicit_state(model)
    with caplog.at_level(logging.WARNING):
        target = rnnzoo.export.export_model(model, tmp_path / "served")
    described = json.loads((target / "serving.json").read_text())
    assert set(described["signatures"]) == {"serving_default"}
    assert "TransformerEncoder 't' may not pass" in described["without_states_because"]
    x = keras.Input((None, F))
    attention = keras.layers.MultiHeadAttention(1, 2, name="heads")
    plain = keras.Model(x, attention(x, x, use_causal_mask=True))
    with pytest.raises(ValueError, match=r"MultiHeadAttention 'heads' may not pass: what it needs"):
        rnnzoo.explicit_state(plain)


def test_a_task_takes_it():
    model = tasks.get("copy", delay=3).build_model(TransformerEncoder(**ARGUMENTS))
    assert model.output_shape == (None, None, 9)
