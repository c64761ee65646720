"""The door's functions that tell which graph is being made, and those on TensorFlow's messages."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_door import check_of

from rnnzoo import _keras

L = keras.layers


class Told(L.Layer):
    """Notes at each trace whether it is in a loop of Keras's."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def call(self, x):
        self.notes.append(_keras.in_keras_loop())
        return x


def told():
    layer = Told()
    model = keras.Sequential([keras.Input((1,)), layer, L.Dense(1)])
    model.compile("sgd", "mse")
    return model, layer.notes


X = np.ones([4, 1], "float32")


@check_of(_keras.in_keras_loop)
@pytest.mark.parametrize("steps", [1, 2])
def test_loops_of_keras_are_known(steps):
    for run in (
        lambda model: model.fit(X, X, 2, verbose=0),
        lambda model: model.evaluate(X, X, 2, verbose=0),
        lambda model: model.predict(X, 2, verbose=0),
        lambda model: model.predict_on_batch(X),
    ):
        model, notes = told()
        model.compile("sgd", "mse", steps_per_execution=steps)
        notes.clear()
        run(model)
        assert notes
        # The first of `fit` and `evaluate` may be a symbolic call, which computes nothing.
        assert notes[-1] is True


@check_of(_keras.in_keras_loop)
def test_other_graphs_are_no_loops_of_keras(tmp_path):
    model, notes = told()
    notes.clear()
    model(X)
    tf.function(model)(X)
    tf.function(lambda x: tf.while_loop(lambda *_: False, lambda y: [model(y)], [x]))(X)
    model.export(tmp_path / "exported", verbose=False)
    assert len(notes) >= 4
    assert set(notes) == {False}


@check_of(_keras.in_keras_loop)
def test_loops_under_other_names_are_told(monkeypatch):
    check = _keras.in_keras_loop.__globals__["_check_loops"]

    def make_predict_function(self):
        def step():
            pass

        return step

    check()
    check.cache_clear()
    monkeypatch.setattr(keras.Model, "make_predict_function", make_predict_function)
    with pytest.warns(UserWarning, match=r"does not know the loops .*\['step'\]"):
        _keras.in_keras_loop()
    _keras.in_keras_loop()  # once
    check.cache_clear()


@check_of(_keras.in_gradient_of_gradient)
def test_a_gradient_of_a_gradient_that_nobody_has_asked_for():
    traced = []

    @tf.custom_gradient
    def square(x):
        @tf.custom_gradient
        def backward(upstream):
            def second(_):
                traced.append(_keras.in_gradient_of_gradient())
                return tf.zeros_like(upstream)

            return 2.0 * x * upstream, second

        return tf.square(x), backward

    x = tf.constant(3.0)
    function = tf.function(square)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        first = inner.gradient(y, x)
    assert float(first) == 6
    assert set(traced) == {True}
    assert not _keras.in_gradient_of_gradient()
    assert not tf.function(_keras.in_gradient_of_gradient)()
    del outer


@check_of(_keras.under_xla)
def test_xla_is_seen():
    seen = []

    def note(x):
        seen.append(_keras.under_xla())
        return x

    def nested(x):
        return tf.cond(x > 0, lambda: note(x), lambda: x)

    for jit in (False, True):
        for function in (note, nested):
            tf.function(function, jit_compile=jit, autograph=False)(tf.constant(1.0))
    assert seen == [False, False, True, True]
    outer = tf.function(tf.function(note, autograph=False), jit_compile=True, autograph=False)
    outer(tf.constant(1.0))
    assert seen[-1] is True


@check_of(_keras.tape_may_record)
def test_tapes_are_seen():
    assert not _keras.tape_may_record()
    with tf.GradientTape() as tape:
        assert _keras.tape_may_record()
        with tape.stop_recording():
            assert not _keras.tape_may_record()
    assert not _keras.tape_may_record()


@check_of(_keras.dynamic_update_slice)
def test_a_slice_is_written_where_the_graph_does_not_know():
    @tf.function(jit_compile=True, autograph=False)
    def write(start):
        return _keras.dynamic_update_slice(tf.zeros([5, 2]), tf.ones([2, 2]), [start, 0])

    for start in (0, 2):
        wanted = np.zeros([5, 2])
        wanted[start : start + 2] = 1
        np.testing.assert_array_equal(write(tf.constant(start)), wanted)


def saved(folder, jit):
    module = tf.Module()
    inner = tf.function(lambda x: tf.nn.relu(x), jit_compile=jit)
    module.serve = tf.function(lambda x: inner(x), input_signature=[tf.TensorSpec([2])])
    tf.saved_model.save(module, str(folder), signatures={"serve": module.serve})
    message = _keras.saved_model_message().FromString((folder / "saved_model.pb").read_bytes())
    return message.meta_graphs[0]


@check_of(_keras.saved_model_message, _keras.compiled_by_xla)
def test_what_a_saved_model_holds(tmp_path):
    found = {}
    for jit in (None, True):
        graph = saved(tmp_path / str(jit), jit)
        assert "serve" in graph.signature_def
        functions = graph.graph_def.library.function
        parts = [part for f in functions for part in (f, *f.node_def)]
        assert {node.op for f in functions for node in f.node_def} >= {"Relu"}
        found[jit] = any(_keras.compiled_by_xla(part) for part in parts)
    assert found == {None: False, True: True}


@check_of(_keras.data_type_names)
def test_types_of_data_by_number():
    names = _keras.data_type_names()
    for dtype, name in ((tf.float32, "DT_FLOAT"), (tf.int64, "DT_INT64"), (tf.bool, "DT_BOOL")):
        assert names[dtype.as_datatype_enum] == name
