"""Each private name of Keras and TensorFlow that the package needs does what it is needed for."""

import inspect
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_door import CHECKED, check_of, public

from rnnzoo import _keras

L = keras.layers
TWO_DEVICES = pathlib.Path(__file__).with_name("two_devices.py")
X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
X[0, 2:] = X[1, 3:] = 0  # 5 real steps of 8


def masked_model(**compiled):
    model = keras.Sequential([keras.Input((None, 3)), L.Masking(), L.Dense(1)])
    model.compile("sgd", run_eagerly=True, **compiled)
    return model


class RealSteps(keras.metrics.Metric):
    """Counts the steps that a mask leaves."""

    def __init__(self):
        super().__init__(name="real")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = _keras.mask_of(y_pred)
        real = keras.ops.ones_like(y_pred[..., 0], "bool") if mask is None else mask
        self.total.assign_add(keras.ops.sum(keras.ops.cast(real, "float32")))

    def result(self):
        return keras.ops.convert_to_tensor(self.total)


@check_of(_keras.mask_of)
def test_a_metric_sees_the_mask_in_evaluate():
    model = masked_model(loss="mse", metrics=[RealSteps()])
    assert model.evaluate(X, np.zeros([2, 4, 1]), verbose=0, return_dict=True)["real"] == 5
    assert _keras.mask_of(model(X)).numpy().sum() == 5
    assert _keras.mask_of(tf.constant(X)) is None
    assert _keras.mask_of(model.outputs[0]) is not None


@check_of(_keras.set_mask)
def test_a_loss_leaves_out_what_it_masks():
    def loss(y_true, y_pred):
        values = tf.square(y_true - y_pred)[..., 0]
        _keras.set_mask(values, tf.constant([[True, False, False, True]] * 2))
        return values

    class Masked(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return loss(y_true, y_pred)

    model = keras.Sequential([keras.Input((None, 3)), L.Dense(1)])
    model.compile("sgd", Masked())
    y = np.zeros([2, 4, 1], "float32")
    y[:, 1:3] = 1e6  # which would be seen
    wanted = float(tf.reduce_mean(tf.square(model(X)[:, ::3])))
    assert model.evaluate(X, y, verbose=0) == pytest.approx(wanted, rel=1e-6)
    tensor = tf.constant(X)
    _keras.set_mask(tensor, tf.ones([2, 4], tf.bool))
    assert _keras.mask_of(tensor) is not None
    _keras.set_mask(tensor, None)
    assert _keras.mask_of(tensor) is None


def graph():
    """x -> two, three -> their sum; `two` is called twice."""
    x = keras.Input((3,), name="x")
    two, three = L.Dense(3, name="two"), L.Dense(3, name="three")
    return keras.Model(x, L.Add(name="sum")([two(two(x)), three(x)]))


@check_of(_keras.functional_of_sequential)
def test_the_graph_of_a_sequential_model():
    model = keras.Sequential([L.Dense(2)])
    assert _keras.functional_of_sequential(model) is None
    model.build((None, 3))
    inner = _keras.functional_of_sequential(model)
    np.testing.assert_array_equal(inner(X[:, 0]), model(X[:, 0]))
    assert [node.operation.name for node in _keras.nodes(inner)][1:] == [model.layers[0].name]


@check_of(_keras.is_functional)
def test_what_has_a_graph():
    class Subclassed(keras.Model):
        pass

    assert _keras.is_functional(graph())
    assert not _keras.is_functional(Subclassed())
    assert not _keras.is_functional(L.Dense(1))


@check_of(_keras.run_through_graph)
def test_a_graph_runs_with_other_calls():
    model, called = graph(), []

    def call(operation, *args, **kwargs):
        called.append(operation.name)
        return 10.0 * operation(*args, **kwargs)

    two, three = model.get_layer("two"), model.get_layer("three")
    x = tf.constant(X[:, 0])
    result = _keras.run_through_graph(model, x, call)
    wanted = 10 * (10 * two(10 * two(x)) + 10 * three(x))
    np.testing.assert_allclose(keras.tree.flatten(result)[0], wanted, rtol=1e-5)
    assert sorted(called) == ["sum", "three", "two", "two"]


@check_of(_keras.nodes)
def test_nodes_come_in_an_order_of_computing():
    found = _keras.nodes(graph())
    assert sorted(node.operation.name for node in found) == ["sum", "three", "two", "two", "x"]
    made = set()
    for node in found:
        assert all(id(tensor) in made for tensor in node.input_tensors)
        made |= {id(tensor) for tensor in node.outputs}
    assert found[0].is_input
    assert not found[-1].is_input


@check_of(_keras.node_that_made)
def test_a_tensor_knows_its_call():
    x, two = keras.Input((3,)), L.Dense(3)
    first = two(x)
    second = two(first)
    assert _keras.node_that_made(first).operation is two
    assert _keras.node_that_made(second).input_tensors[0] is first
    assert _keras.node_that_made(first).input_tensors[0] is x


@check_of(_keras.last_input_shape)
def test_a_layer_knows_its_input_shape():
    layer = L.Dense(2)
    layer(keras.Input((None, 5)))
    assert tuple(_keras.last_input_shape(layer)) == (None, None, 5)


@check_of(_keras.flat_layers)
def test_layers_at_any_depth():
    deep = L.LSTM(2, name="deep")
    inner = keras.Sequential([keras.Input((None, 3)), L.Bidirectional(deep, name="both")])
    outer = keras.Sequential([keras.Input((None, 3)), inner])
    found = list(_keras.flat_layers(outer))
    both = inner.layers[0]
    for layer in (outer, inner, both, both.forward_layer, both.forward_layer.cell):
        assert any(one is layer for one in found), layer.name


@check_of(_keras.flat_inputs)
def test_inputs_by_name_become_a_list():
    inputs = {"b": keras.Input((2,), name="b"), "a": keras.Input((3,), name="a")}
    model = keras.Model(inputs, L.Concatenate()(list(inputs.values())))
    data = {"a": np.ones([1, 3], "float32"), "b": np.zeros([1, 2], "float32")}
    found = _keras.flat_inputs(model, data)
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    assert [(None, *value.shape[1:]) for value in found] == shapes


@check_of(_keras.takes_training)
def test_which_calls_take_training():
    class Cell(L.Layer):
        def call(self, inputs, states):
            return inputs, states

    assert not _keras.takes_training(Cell())
    assert _keras.takes_training(L.LSTMCell(2))


@check_of(_keras.untrack)
def test_what_is_taken_out_is_not_trained_twice():
    class Twin(L.Layer):
        def __init__(self, dense):
            super().__init__()
            self.dense, self.other = dense, dense

    dense = L.Dense(1)
    dense.build((None, 2))
    twin = Twin(dense)
    assert len(twin.trainable_variables) == 2
    _keras.untrack(twin, dense)
    assert twin.trainable_variables == []
    dropout = L.Dropout(0.5, seed=1)
    assert len(dropout.variables) == 1
    _keras.untrack(dropout, dropout.seed_generator)
    assert dropout.variables == []


def dropping():
    layer = L.RNN(L.StackedRNNCells([L.GRUCell(3, dropout=0.5, recurrent_dropout=0.5, seed=1)] * 1))
    layer(X)
    cell, state = layer.cell.cells[0], tf.ones([2, 3])
    arguments = layer, layer.cell, tf.constant(X[:, 0]), [state]
    return arguments, cell, lambda: cell(tf.ones([2, 3]), state, training=True)[0].numpy()


@check_of(_keras.make_dropout_masks, _keras.forget_dropout_masks)
def test_masks_last_for_a_call_and_no_longer():
    (layer, cells, x, states), cell, step = dropping()
    drawn = []
    for _ in range(6):
        _keras.make_dropout_masks(layer, cells, x, states)
        drawn.append(np.stack([cell.get_dropout_mask(None), cell.get_recurrent_dropout_mask(None)]))
        np.testing.assert_array_equal(step(), step())
        _keras.forget_dropout_masks(layer, cells)
    assert {0.0, 2.0} == set(np.unique(drawn))
    assert len({one.tobytes() for one in drawn}) > 1
    with pytest.raises(Exception, match="None"):  # nothing is left to be used again
        tf.convert_to_tensor(cell.get_dropout_mask(None))


@check_of(_keras.repeated_dropout_masks)
def test_masks_serve_copies_of_a_batch():
    (layer, cells, x, states), cell, step = dropping()
    _keras.make_dropout_masks(layer, cells, x, states)
    masks = [*cell.get_dropout_mask(None), *cell.get_recurrent_dropout_mask(None)]
    once = step()
    with _keras.repeated_dropout_masks(cell, lambda mask: tf.tile(mask, [3, 1])):
        twice = cell(tf.ones([6, 3]), tf.ones([6, 3]), training=True)[0]
    np.testing.assert_allclose(twice, np.tile(once, [3, 1]), rtol=1e-6)
    after = [*cell.get_dropout_mask(None), *cell.get_recurrent_dropout_mask(None)]
    assert all(a is b for a, b in zip(after, masks, strict=True))
    with _keras.repeated_dropout_masks(L.LSTMCell(2), None):
        pass  # a cell that drops nothing


@check_of(_keras.FullPrecisionStates)
def test_states_stay_full_precision():
    class Plain(L.RNN):
        def call(self, sequences, **options):
            return tf.convert_to_tensor(self.states[0])

    class Full(_keras.FullPrecisionStates, Plain):
        pass

    kinds = []
    for kind in (Plain, Full):
        layer = kind(L.SimpleRNNCell(3), stateful=True, dtype="mixed_float16")
        layer.build((2, None, 3))
        layer.states[0].assign(np.full([2, 3], 2049.0))  # which half precision does not have
        kinds.append((layer(X).dtype.name, float(layer(X)[0, 0])))
    assert kinds == [("float16", 2048.0), ("float32", 2049.0)]
    assert layer.stateful_batch == 2
    assert Full(L.SimpleRNNCell(3)).stateful_batch is None


@check_of(_keras.loss_tracker, _keras.compile_metrics)
def test_a_step_of_our_own_reports():
    model = keras.Sequential([keras.Input((3,)), L.Dense(1)])
    model.compile("sgd", "mse")
    assert _keras.compile_metrics(model) is None
    model.compile("sgd", "mse", metrics=["mae"])
    y = np.zeros([2, 1], "float32")
    container = _keras.compile_metrics(model)
    assert not container.built
    container.build(y, model(X[:, 0]))
    assert [metric.name for metric in container.metrics] == ["mae"]
    _keras.loss_tracker(model).update_state(7.0)
    model.compute_metrics(X[:, 0], y, model(X[:, 0]), None)
    results = model.get_metrics_result()
    assert float(results["loss"]) == 7
    assert float(results["mae"]) == pytest.approx(float(np.abs(model(X[:, 0])).mean()))


@check_of(_keras.adam_moments)
def test_moments_of_adam():
    variable = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.Adam(0.1, beta_1=0.9, beta_2=0.99)
    optimizer.build([variable])
    optimizer.apply([tf.constant([3.0, -4.0])], [variable])
    ((found, first, second),) = _keras.adam_moments(optimizer)
    assert found is variable
    np.testing.assert_allclose(first, [0.3, -0.4], rtol=1e-6)
    np.testing.assert_allclose(second, [0.09, 0.16], rtol=1e-6)


@check_of(_keras.variable_index)
def test_which_variable_an_update_is_of():
    met = []

    class Optimizer(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            met.append(_keras.variable_index(self, variable))

    variables = [keras.Variable(0.0), keras.Variable(1.0)]
    optimizer = Optimizer(1.0)
    optimizer.build(variables)
    optimizer.apply([tf.constant(1.0)], variables[1:])
    assert met == [1]


class Score(keras.metrics.Metric):
    """One of the values given, an epoch after another."""

    def __init__(self, direction):
        super().__init__(name="score")
        self.epoch = self.add_weight(name="epoch", initializer="zeros")
        if direction:
            _keras.set_direction(self, direction)

    def update_state(self, y_true, y_pred, sample_weight=None):
        pass

    def result(self):
        return tf.gather(tf.constant([2.0, 3.0, 1.0]), tf.cast(self.epoch, tf.int32))

    def reset_state(self):
        pass


@check_of(_keras.set_direction)
def test_callbacks_know_which_way_is_better(tmp_path):
    best = {}
    for direction in ("up", "down", None):
        model, metric = keras.Sequential([keras.Input((1,)), L.Dense(1)]), Score(direction)
        model.compile("sgd", "mse", metrics=[metric], run_eagerly=True)
        saving = keras.callbacks.ModelCheckpoint(
            tmp_path / "x.weights.h5", "score", save_best_only=True, save_weights_only=True
        )
        count = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs, m=metric: m.epoch.assign(epoch)
        )
        try:
            model.fit(np.ones([1, 1]), np.ones([1, 1]), 1, 3, 0, callbacks=[count, saving])
        except ValueError as error:
            best[direction] = "automatically" in str(error)
            continue
        best[direction] = float(saving.best)
    assert best == {"up": 3, "down": 1, None: True}


@pytest.fixture(scope="module")
def two_replicas():
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(TWO_DEVICES)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@check_of(_keras.summed_gradients)
def test_gradients_are_summed_once(two_replicas):
    assert two_replicas["moved"] == [2.0, 1.0]  # as Keras does, and as it is told
    assert two_replicas["scaled"] == [2.0, 1.0]
    optimizer = keras.optimizers.SGD()
    before = set(vars(optimizer))
    with _keras.summed_gradients(optimizer):
        assert set(vars(optimizer)) - before == {"_all_reduce_sum_gradients"}
    assert set(vars(optimizer)) == before
    with pytest.raises(AttributeError, match="no `_all_reduce_sum_gradients`"):
        _keras.summed_gradients(keras.layers.Dense(1)).__enter__()


@check_of(_keras.strategy_of)
def test_a_model_knows_its_strategy(two_replicas):
    assert two_replicas["strategies"] == [True, True]


@check_of(_keras.set_cardinality)
def test_the_batches_of_distributed_data_are_known(two_replicas):
    assert two_replicas["steps"] == [None, 3]


@check_of(_keras.replace_symbolic_build, _keras.symbolic_build)
def test_metrics_are_made_our_way(two_replicas):
    assert two_replicas["asked"] == [True]
    model = keras.Sequential([keras.Input((3,)), L.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    _keras.symbolic_build(model, (X[:, 0], np.zeros([2, 1], "float32")))
    assert _keras.compile_metrics(model).built
    assert [metric.name for metric in _keras.compile_metrics(model).metrics] == ["mae"]


@check_of(_keras.saved_parts, _keras.load_renamed)
def test_files_of_weights_with_other_paths(tmp_path):
    def made():
        return keras.Sequential([keras.Input((None, 3)), L.LSTM(2), L.Dense(1)])

    import h5py

    model, other, file = made(), made(), tmp_path / "x.weights.h5"
    model.save_weights(file)
    parts = {path: (name, list(held)) for path, name, held in _keras.saved_parts(model)}
    names = [layer.name for layer in model.layers]
    assert parts["layers/lstm/cell"] == ("lstm_cell", ["0", "1", "2"])
    assert parts["layers/dense"] == (names[1], ["0", "1"])
    with h5py.File(file) as archive:
        for path, (_, held) in parts.items():
            assert list(archive[f"{path}/vars"] if held else ()) == held
    with h5py.File(file, "a") as archive:
        archive.move("layers/dense", "layers/other")
    errors = _keras.load_renamed(other, file, {"layers/dense": "layers/other"})
    assert errors == []
    for a, b in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert _keras.load_renamed(made(), file, {}) != []


@check_of(_keras.missing_in_file)
def test_what_a_file_of_weights_lacks(tmp_path):
    import h5py

    found, file = [], tmp_path / "x.weights.h5"

    class Asking(L.Dense):
        def load_own_variables(self, store):
            found.append(_keras.missing_in_file(store))
            if found[-1] is None:
                super().load_own_variables(store)

    model = keras.Sequential([keras.Input((3,)), Asking(2)])
    model.save_weights(file)
    model.load_weights(file)
    with h5py.File(file, "a") as archive:
        archive.move("layers/asking", "layers/other")
    model.load_weights(file)
    assert found == [None, ("layers/asking", ["other"])]


def test_every_function_of_the_door_is_checked():
    import test_keras_tracing  # noqa: F401 - which checks the rest

    assert public() == CHECKED
    for name in public():
        text = inspect.getdoc(getattr(_keras, name))
        assert "For " in text or "Mixin" in text, f"{name} does not say what it is for"


def test_a_failure_shows_what_would_break():
    @check_of(_keras.mask_of)
    def fails():
        assert 1 == 2, "this"

    with pytest.raises(AssertionError, match=r"(?s)mask_of: .*padding would be\nscored.*this"):
        fails()
