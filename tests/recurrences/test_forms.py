"""The one rule that chooses a form: training or inference, known or unknown shape, export."""

import os
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo
from rnnzoo.export import export_model
from rnnzoo.recurrences import _forms, _loops, _lstm_xla, lstm, simple_rnn

diagonal_module = sys.modules["rnnzoo.recurrences.diagonal"]

needs_xla = pytest.mark.skipif(
    not _forms.xla_compiles() or bool(tf.config.list_logical_devices("GPU")),
    reason="the compiled forms are chosen where XLA compiles for a CPU without a GPU beside it",
)


def chosen(form, shape, **options):
    """What `choose` says inside a graph."""
    with tf.Graph().as_default():
        return _forms.choose(form, placeholder(shape), **options)


def placeholder(shape):
    return tf.compat.v1.placeholder(tf.float32, shape)


@needs_xla
def test_training_compiles_for_known_lengths_whatever_the_batch():
    assert chosen("auto", [None, 7, 2]) == "xla"
    assert chosen("auto", [3, 7, 2]) == "xla"
    assert chosen("auto", [3, None, 2]) == "adjoint"
    assert chosen("auto", [3, 0, 2]) == "adjoint"


def test_eager_calls_do_not_compile_for_every_length():
    assert _forms.choose("auto", tf.zeros([3, 7, 2])) == "adjoint"


@needs_xla
def test_replicas_do_not_compile():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with tf.Graph().as_default(), strategy.scope():
        inputs = placeholder([3, 7, 2])
        assert _forms.choose("auto", inputs) == "adjoint"
        assert _forms.choose("xla_forward", inputs) == "plain"


def test_without_a_compiler_the_plain_loops_run(monkeypatch):
    monkeypatch.setattr(_forms, "xla_compiles", lambda: False)
    assert chosen("auto", [3, 7, 2]) == "adjoint"
    assert chosen("xla_forward", [3, 7, 2]) == "plain"


@pytest.mark.parametrize("form", ["xla", "adjoint", "plain"])
def test_a_form_that_is_given_stands(form):
    assert chosen(form, [3, 7, 2]) == form


def test_the_table_has_every_form_that_runs():
    assert {*_forms.GIVEN[1:], "xla_forward", "powers"} == set(_forms.FORMS)
    assert {*diagonal_module._FORWARD, "powers"} == set(_forms.FORMS)
    assert set(_forms.OLDER_NAMES.values()) <= set(_forms.FORMS)


def test_the_older_name_of_the_plain_form_is_the_plain_form(data):
    assert chosen("autodiff", [3, 7, 2]) == "plain"
    for xla in (True, False):
        assert _forms.check("autodiff", xla=xla) == "autodiff"
    old, new = model(form="autodiff"), model(form="plain")
    new.set_weights(old.get_weights())
    np.testing.assert_array_equal(old.predict(data[0], verbose=0), new.predict(data[0], verbose=0))
    # As it was given: the settings of a run that is resumed, which hold it, stay equal.
    assert old.layers[0].get_config()["form"] == "autodiff"
    again = rnnzoo.layers.HDetachLSTM.from_config(old.layers[0].get_config())
    assert again.form == "autodiff"


@pytest.mark.parametrize("form", ["xla_forward", "forward", None, 1, ["plain"]])
def test_a_form_that_callers_may_not_give(form):
    words = r"`form` must be one of 'auto', 'xla', 'adjoint', 'plain' \('autodiff' is an older name"
    with pytest.raises(ValueError, match=rf"{words} of 'plain'\). Received: form="):
        rnnzoo.layers.StableRNN(2, form=form)
    words = "`form` must be one of 'auto', 'adjoint', 'plain' "
    with pytest.raises(ValueError, match=words):
        rnnzoo.layers.LRU(2, form=form)


def test_powers_pay_for_few_features_and_a_known_length():
    most = _forms.FEW_FEATURES
    with tf.Graph().as_default():
        shapes = ([None, 7, most], [2, 7, most + 1], [2, None, 1], [2, 0, 1])
        found = [_forms.powers_pay(placeholder(shape)) for shape in shapes]
    assert found == [True, False, False, False]


@pytest.mark.parametrize("usable", [1, 3])
def test_a_process_has_as_many_shards_as_cores_that_it_may_use(usable, monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda *_: [])
    monkeypatch.setattr(tf.config.threading, "get_inter_op_parallelism_threads", lambda: 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5, 5 + usable)))
    assert _loops.shard_count(100) == usable
    assert _loops.shard_count(None) == usable
    assert _loops.shard_count(4) == 1


@pytest.mark.parametrize("recurrence", ["lstm", "simple_rnn"])
@pytest.mark.parametrize("steps", [None, 0])
def test_xla_needs_a_known_length(recurrence, steps):
    spec = [tf.TensorSpec([2, steps, 3])]
    h = tf.zeros([2, 4])

    def call(x):
        if recurrence == "lstm":
            return lstm(x, h, h, tf.zeros([3, 16]), tf.zeros([4, 16]), form="xla")
        return simple_rnn(x, h, tf.zeros([3, 4]), tf.zeros([4, 4]), form="xla")

    with pytest.raises(ValueError, match=r"`form` must be .*Received: form='xla', inputs of"):
        tf.function(call, input_signature=spec, autograph=False).get_concrete_function()


@pytest.fixture
def compilations(monkeypatch):
    """The names of our functions that are handed to XLA, one for each call in a graph."""
    found = []
    original = _forms.compiled

    def spy(function):
        found.append(function.__name__)
        return original(function)

    monkeypatch.setattr(sys.modules["rnnzoo.recurrences.lstm"], "compiled", spy)
    return found


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=[8, 7, 2]).astype("float32"), np.zeros([8, 7, 1], "float32")


def model(**options):
    layer = rnnzoo.layers.HDetachLSTM(4, return_sequences=True, **options)
    built = keras.Sequential([keras.Input((7, 2)), layer, keras.layers.Dense(1)])
    built.compile("sgd", "mse")
    return built


@needs_xla
def test_keras_compiles_where_it_trains_evaluates_and_predicts(compilations, data):
    x, y = data
    one = model()
    one.fit(x, y, verbose=0)
    assert set(compilations) == {"forward_saving", "adjoint"}
    compilations.clear()
    one.evaluate(x, y, verbose=0)
    assert set(compilations) == {"forward"}
    compilations.clear()
    predicted = one.predict(x, verbose=0)
    assert set(compilations) == {"forward"}
    compilations.clear()
    np.testing.assert_allclose(one(x), predicted, atol=1e-6)
    np.testing.assert_allclose(tf.function(one)(x), predicted, atol=1e-6)
    assert compilations == []  # any graph but Keras's own may be exported


@needs_xla
def test_a_layer_that_fit_calls_for_inference_keeps_its_adjoint(compilations, data):
    x, y = data
    layer = rnnzoo.layers.HDetachLSTM(4, return_sequences=True)
    inputs = keras.Input((7, 2))
    one = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs, training=False)))
    one.compile("sgd", "mse")
    one.fit(x, y, verbose=0)
    assert set(compilations) == {"forward_saving", "adjoint"}
    compilations.clear()
    one.evaluate(x, y, verbose=0)
    assert set(compilations) == {"forward"}


@needs_xla
def test_an_export_holds_no_compiled_function(tmp_path, data):
    one = model()
    one.predict(data[0], verbose=0)
    folder = export_model(one, tmp_path / "served")
    held = tf.saved_model.load(folder).signatures["serving_default"].graph.as_graph_def()
    assert len(held.library.function) > 0
    assert not any(f.attr["_XlaMustCompile"].b for f in held.library.function)


@pytest.mark.parametrize("form", ["adjoint", "plain"])
def test_a_layers_form_overrides_the_rule(form, compilations, data):
    x, y = data
    one = model(form=form)
    one.fit(x, y, verbose=0)
    one.predict(x, verbose=0)
    assert compilations == []


@needs_xla
def test_zero_rows_and_other_batch_sizes_in_keras_loops(data):
    x, _ = data
    one = model()
    expected = one(x).numpy()
    for rows in (1, 3, 8):
        np.testing.assert_allclose(one.predict(x[:rows], verbose=0), expected[:rows], atol=1e-6)


def test_compiled_functions_are_made_once():
    assert _forms.compiled(_lstm_xla.forward) is _forms.compiled(_lstm_xla.forward)
