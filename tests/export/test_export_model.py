"""An export computes what its source does, whole and step by step, with stock operations."""

import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from keras import layers
from tensorflow.core.framework import tensor_pb2

import rnnzoo.layers as zoo
from rnnzoo.export import ExportError, _saved_model, export_model
from rnnzoo.export import _check as _export_check
from rnnzoo.serving import warmup

F = 3


def _sequential(*stack, shape=(None, F), dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *stack])


_MODELS = {
    "lstm": lambda: _sequential(layers.LSTM(4), layers.Dense(2)),
    "lstm_sequences": lambda: _sequential(layers.LSTM(4, return_sequences=True), layers.Dense(2)),
    "gru_stack": lambda: _sequential(
        layers.GRU(4, return_sequences=True), layers.SimpleRNN(5, return_sequences=True)
    ),
    "stacked_cells": lambda: _sequential(
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)], return_sequences=True)
    ),
    "hdetach": lambda: _sequential(
        zoo.HDetachLSTM(4, return_sequences=True), zoo.HDetachLSTM(3), layers.Dense(2)
    ),
    "stable_rnn": lambda: _sequential(zoo.StableRNN(4, return_sequences=True)),
    "stable_lstm": lambda: _sequential(zoo.StableLSTM(4), layers.Dense(2)),
    "lru": lambda: _sequential(zoo.LRU(4, state_size=5, return_sequences=True), layers.Dense(2)),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`exported(name) -> (model, version's folder, loaded signatures)`, each made once."""
    made = {}

    def get(name):
        if name not in made:
            keras.utils.set_random_seed(3)
            model = _MODELS[name]()
            path = export_model(model, tmp_path_factory.mktemp(name) / "served")
            loaded = tf.saved_model.load(str(path))
            made[name] = model, path, loaded.signatures, loaded
        return made[name][:3]

    return get


def _x(batch, time, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, time, F)).astype("float32")


def _full(x):
    return tf.fill([x.shape[0]], tf.constant(x.shape[1], tf.int32))


def _states(outputs):
    return {k.removeprefix("next_"): v for k, v in outputs.items() if k.startswith("next_state_")}


@pytest.mark.parametrize("name", _MODELS)
@pytest.mark.parametrize(("batch", "time"), [(2, 9), (5, 1), (1, 30)])
def test_whole_sequences_give_the_models_predictions(exported, name, batch, time):
    model, _, signatures = exported(name)
    x = _x(batch, time)
    y = signatures["serving_default"](x=tf.constant(x), lengths=_full(x))
    np.testing.assert_allclose(y["outputs"], model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", _MODELS)
def test_step_by_step_equals_the_whole(exported, name):
    model, _, signatures = exported(name)
    x = _x(3, 8)
    state = signatures["initial_state"](rows=tf.zeros([3], tf.int32))
    assert all(not np.any(value) for value in state.values())
    for t in range(8):
        y = signatures["step"](x=tf.constant(x[:, t]), **state)
        state = _states(y)
        if len(model.output_shape) == 3:
            np.testing.assert_allclose(y["outputs"], model(x)[:, t], rtol=1e-5, atol=1e-6)
    if len(model.output_shape) == 2:
        np.testing.assert_allclose(y["outputs"], model(x), rtol=1e-5, atol=1e-6)
    whole = signatures["serving_default"](x=tf.constant(x), lengths=_full(x))
    for key, value in _states(whole).items():
        np.testing.assert_allclose(state[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", _MODELS)
def test_lengths_cut_each_row_whatever_the_padding_holds(exported, name):
    model, _, signatures = exported(name)
    x, lengths = _x(3, 7), [7, 2, 5]
    for row, length in enumerate(lengths):
        x[row, length:] = 1e3
    y = signatures["serving_default"](x=tf.constant(x), lengths=tf.constant(lengths, tf.int32))
    for row, length in enumerate(lengths):
        alone = tf.constant(x[row : row + 1, :length])
        expected = signatures["serving_default"](x=alone, lengths=[length])
        for key, value in _states(expected).items():
            np.testing.assert_allclose(_states(y)[key][row : row + 1], value, rtol=1e-5, atol=1e-6)
        found = y["outputs"][row : row + 1]
        found = found[:, :length] if found.shape.rank == 3 else found
        np.testing.assert_allclose(found, model(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", _MODELS)
@pytest.mark.parametrize(("batch", "time"), [(2, 0), (0, 4), (0, 0), (2, 3)])
def test_no_steps_no_rows_and_no_length_leave_the_zero_state(exported, name, batch, time):
    model, _, signatures = exported(name)
    y = signatures["serving_default"](
        x=tf.ones([batch, time, F]), lengths=tf.zeros([batch], tf.int32)
    )
    initial = signatures["initial_state"](rows=tf.zeros([batch], tf.int32))
    assert set(_states(y)) == set(initial)
    for key, value in _states(y).items():
        np.testing.assert_array_equal(value, initial[key])
    width = model.output_shape[-1]
    sequence = len(model.output_shape) == 3
    assert y["outputs"].shape == ((batch, time, width) if sequence else (batch, width))
    step = signatures["step"](x=tf.ones([0, F]), **{k: v[:0] for k, v in initial.items()})
    assert step["outputs"].shape == (0, width)


@pytest.mark.parametrize("name", _MODELS)
def test_the_graph_has_stock_operations_and_the_models_weights_only(exported, name):
    model, path, _ = exported(name)
    functions = _saved_model.graph_functions(path)
    assert functions
    assert not [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b]
    operations = {node.op for f in functions for node in f.node_def}
    assert not [o for o in operations if "PyFunc" in o or "Xla" in o or "Cudnn" in o]
    stored = tf.train.list_variables(str(path / "variables" / "variables"))
    stored = sorted(tuple(shape) for key, shape in stored if "VARIABLE_VALUE" in key)
    assert stored == sorted(tuple(w.shape) for w in model.weights)


def test_the_step_has_no_loop(exported):
    _, _, signatures = exported("lstm")
    assert not [op for op in signatures["step"].graph.get_operations() if "While" in op.type]
    whole = signatures["serving_default"].graph.as_graph_def().library.function
    assert [n for f in whole for n in f.node_def if "While" in n.op]


def test_names_and_shapes_of_the_signatures(tmp_path):
    model = _sequential(layers.LSTM(4, name="memory"), layers.Dense(2, name="logits"))
    path = export_model(model, tmp_path / "m")
    described = json.loads((path / "serving.json").read_text())
    signatures = tf.saved_model.load(str(path)).signatures
    found = {
        name: (
            {
                k: (s.dtype.name, s.shape.as_list())
                for k, s in f.structured_input_signature[1].items()
            },
            {k: (s.dtype.name, s.shape.as_list()) for k, s in f.structured_outputs.items()},
        )
        for name, f in signatures.items()
    }
    h, state = ("float32", [None, 4]), ("state_memory_h", "state_memory_c")
    assert found == {
        "serving_default": (
            {"x": ("float32", [None, None, F]), "lengths": ("int32", [None])},
            {"outputs": ("float32", [None, 2]), **{f"next_{s}": h for s in state}},
        ),
        "step": (
            {"x": ("float32", [None, F]), **dict.fromkeys(state, h)},
            {"outputs": ("float32", [None, 2]), **{f"next_{s}": h for s in state}},
        ),
        "initial_state": ({"rows": ("int32", [None])}, dict.fromkeys(state, h)),
    }  # fmt: skip
    assert {
        name: tuple(
            {k: (s["dtype"], s["shape"]) for k, s in part[side].items()}
            for side in ("inputs", "outputs")
        )
        for name, part in described["signatures"].items()
    } == found
    assert described["states"] == ["memory_h", "memory_c"]
    assert described["without_states_because"] is None
    assert 0 <= described["largest_difference_from_source"] < 1e-5


def test_it_runs_where_only_tensorflow_is(exported, tmp_path):
    model, path, _ = exported("hdetach")
    x = _x(2, 6)
    np.savez(tmp_path / "io.npz", x=x, y=model(x))
    code = f"""
        import sys, numpy as np, tensorflow as tf
        io = np.load({str(tmp_path / "io.npz")!r})
        run = tf.saved_model.load({str(path)!r}).signatures["serving_default"]
        y = run(x=tf.constant(io["x"]), lengths=tf.constant([6, 6]))["outputs"]
        assert "rnnzoo" not in sys.modules
        print(float(np.abs(y - io["y"]).max()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1e-6


@pytest.mark.parametrize("lengths", [[4, -1], [0, 5]])
def test_lengths_out_of_range_are_refused(exported, lengths):
    _, _, signatures = exported("lstm")
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be from 0 to the number of"):
        signatures["serving_default"](x=tf.ones([2, 4, F]), lengths=tf.constant(lengths))


def test_batches_of_different_sizes_are_refused(exported):
    _, _, signatures = exported("lstm")
    with pytest.raises(tf.errors.InvalidArgumentError, match="same number of rows"):
        signatures["serving_default"](x=tf.ones([2, 4, F]), lengths=tf.constant([4]))
    state = signatures["initial_state"](rows=[0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="same number of rows"):
        signatures["step"](x=tf.ones([2, F]), **state)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_narrow_types_stay_inside(tmp_path, policy):
    model = _sequential(layers.LSTM(4, dtype=policy), layers.Dense(2, dtype=policy))
    path = export_model(model, tmp_path / "m")
    signatures = tf.saved_model.load(str(path)).signatures
    x = _x(2, 5)
    y = signatures["serving_default"](x=tf.constant(x), lengths=_full(x))
    state = signatures["initial_state"](rows=[0, 0])
    outside = {v.dtype for v in [*y.values(), *state.values()]}
    assert outside == {tf.float64 if policy == "float64" else tf.float32}
    expected = tf.cast(model(x), tf.float64)
    precision = {"float64": 1e-12, "mixed_bfloat16": 8e-3}.get(policy, 1e-3)
    np.testing.assert_allclose(y["outputs"], expected, rtol=precision, atol=precision)


def test_token_models_take_ids(tmp_path):
    model = _sequential(
        layers.Embedding(11, 4), layers.GRU(5, return_sequences=True), shape=(None,), dtype="int32"
    )
    signatures = tf.saved_model.load(str(export_model(model, tmp_path / "m"))).signatures
    ids = np.random.default_rng(0).integers(0, 11, (2, 6)).astype("int32")
    y = signatures["serving_default"](x=tf.constant(ids), lengths=tf.constant([6, 3]))
    np.testing.assert_allclose(y["outputs"][0], model(ids)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y["outputs"][1, :3], model(ids[:, :3])[1], rtol=1e-5, atol=1e-6)


def test_several_inputs_and_outputs_keep_their_names(tmp_path):
    a, b = keras.Input((None, F), name="left"), keras.Input((None, 2), name="right")
    h = layers.LSTM(4, return_sequences=True, name="memory")(layers.Concatenate()([a, b]))
    outputs = [layers.Dense(2, name="first")(h), layers.Dense(1, name="second")(h)]
    model = keras.Model([a, b], outputs)
    signatures = tf.saved_model.load(str(export_model(model, tmp_path / "m"))).signatures
    left, right = _x(2, 5), _x(2, 5, seed=1)[..., :2]
    y = signatures["serving_default"](left=left, right=right, lengths=tf.constant([5, 5]))
    assert set(y) == {"first", "second", "next_state_memory_h", "next_state_memory_c"}
    for name, expected in zip(("first", "second"), model([left, right])):
        np.testing.assert_allclose(y[name], expected, rtol=1e-5, atol=1e-6)


def test_a_fixed_time_becomes_free(tmp_path):
    model = _sequential(layers.LSTM(4), shape=(9, F))
    signatures = tf.saved_model.load(str(export_model(model, tmp_path / "m"))).signatures
    x = _x(2, 9)
    y = signatures["serving_default"](x=tf.constant(x), lengths=_full(x))["outputs"]
    np.testing.assert_allclose(y, model(x), rtol=1e-5, atol=1e-6)
    longer = signatures["serving_default"](x=_x(2, 12), lengths=tf.constant([12, 9]))["outputs"]
    assert longer.shape == (2, 4)


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ([layers.Bidirectional(layers.LSTM(4, return_sequences=True))], "Bidirectional"),
        ([layers.GRU(4, go_backwards=True)], "go_backwards=True"),
    ],
)
def test_what_cannot_stream_is_exported_whole_and_says_why(tmp_path, caplog, stack, words):
    model = _sequential(*[layer.__class__.from_config(layer.get_config()) for layer in stack])
    path = export_model(model, tmp_path / "m")
    described = json.loads((path / "serving.json").read_text())
    assert list(described["signatures"]) == ["serving_default"]
    assert described["states"] == []
    assert described["lengths"] is True
    assert words in described["without_states_because"]
    assert "exported without states" in caplog.text
    run = tf.saved_model.load(str(path)).signatures["serving_default"]
    x = _x(2, 6)
    y = run(x=tf.constant(x), lengths=tf.constant([6, 4]))["outputs"]
    np.testing.assert_allclose(y[:1], model(x[:1]), rtol=1e-5, atol=1e-6)
    cut = y[1:, :4] if y.shape.rank == 3 else y[1:]
    np.testing.assert_allclose(cut, model(x[1:, :4]), rtol=1e-5, atol=1e-6)
    assert run(x=tf.ones([2, 0, F]), lengths=tf.constant([0, 0]))["outputs"].shape[0] == 2


def test_lengths_are_not_offered_where_padding_would_leak(tmp_path):
    model = _sequential(layers.Conv1D(4, 3, padding="same"), layers.LSTM(4))
    path = export_model(model, tmp_path / "m")
    described = json.loads((path / "serving.json").read_text())
    assert described["lengths"] is False
    assert list(described["signatures"]["serving_default"]["inputs"]) == ["x"]
    x = _x(2, 6)
    y = tf.saved_model.load(str(path)).signatures["serving_default"](x=tf.constant(x))["outputs"]
    np.testing.assert_allclose(y, model(x), rtol=1e-5, atol=1e-6)


def test_optimizer_and_jit_compile_do_not_reach_the_export(tmp_path):
    model = _sequential(layers.LSTM(4), layers.Dense(2))
    model.compile("adam", "mse", jit_compile=True)
    model.optimizer.build(model.trainable_variables)
    path = export_model(model, tmp_path / "m")
    stored = tf.train.list_variables(str(path / "variables" / "variables"))
    assert sum("VARIABLE_VALUE" in key for key, _ in stored) == len(model.weights) == 5
    assert not any(f.attr["_XlaMustCompile"].b for f in _saved_model.graph_functions(path))


def test_an_xla_compiled_layer_is_refused_and_leaves_nothing(tmp_path):
    class Compiled(layers.Dense):
        def call(self, x):
            return tf.function(super().call, jit_compile=True)(x)

    model = _sequential(layers.LSTM(4), Compiled(2))
    with pytest.raises(ExportError, match="compiled with XLA, which a stock server refuses"):
        export_model(model, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []


def test_python_in_the_graph_is_refused(tmp_path):
    class Python(layers.Dense):
        def call(self, x):
            y = tf.numpy_function(lambda a: a, [super().call(x)], tf.float32)
            return tf.ensure_shape(y, [None, 2])

    model = _sequential(layers.LSTM(4), Python(2))
    with pytest.raises(ExportError, match="not one of a stock server's"):
        export_model(model, tmp_path / "m")


def test_a_difference_from_the_source_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    model = _sequential(layers.LSTM(4))
    right = _export_check.call_source
    monkeypatch.setattr(
        _export_check, "call_source", lambda *a: [value + 0.01 for value in right(*a)]
    )
    with pytest.raises(ExportError, match=r"differs from its source: output 'outputs' by 0\.01"):
        export_model(model, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []
    path = export_model(model, tmp_path / "m", check=False)
    described = json.loads((path / "serving.json").read_text())
    assert described["largest_difference_from_source"] is None


def test_versions_count_up_and_are_never_overwritten(tmp_path):
    model = _sequential(layers.SimpleRNN(2))
    first = export_model(model, tmp_path / "m", check=False)
    assert first == tmp_path / "m" / "1"
    assert export_model(model, tmp_path / "m", version=7, check=False).name == "7"
    assert export_model(model, tmp_path / "m", check=False).name == "8"
    before = (first / "saved_model.pb").read_bytes()
    with pytest.raises(ValueError, match=r"`version` must be a new one: .*Received: version=1"):
        export_model(model, tmp_path / "m", version=1)
    assert (first / "saved_model.pb").read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "7", "8"]


class _Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.memory = layers.LSTM(2)

    def call(self, x):
        return self.memory(x)


def _called_subclass():
    model = _Subclass()
    model(np.ones((1, 2, F), "float32"))
    return model


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: export_model("m.keras", p), TypeError, "`model` must be a keras.Model"),
        (lambda p: export_model(layers.LSTM(2), p), TypeError, "`model` must be a keras.Model"),
        (
            lambda p: export_model(keras.Sequential([layers.LSTM(2)]), p),
            ValueError,
            "`model` must be built",
        ),
        (
            lambda p: export_model(_called_subclass(), p),
            ValueError,
            "`model` must be a Functional or Sequential model",
        ),
        (
            lambda p: export_model(_sequential(layers.LSTM(2)), 5),
            TypeError,
            "`path` must be a string",
        ),
        (
            lambda p: export_model(_sequential(layers.LSTM(2)), __file__),
            ValueError,
            "must be a folder",
        ),
        (
            lambda p: export_model(_sequential(layers.LSTM(2)), p, version="1"),
            TypeError,
            "`version` must be an integer",
        ),
        (
            lambda p: export_model(_sequential(layers.LSTM(2)), p, version=0),
            ValueError,
            "`version` must be an integer of at least 1",
        ),
        (
            lambda p: export_model(_sequential(layers.LSTM(2)), p, check=1),
            TypeError,
            "`check` must be True or False",
        ),
        (
            lambda p: export_model(_sequential(layers.LSTM(2)), p, time_local=["nothing"]),
            ValueError,
            "`time_local` must name layers of the model",
        ),
    ],
)
def test_wrong_calls(tmp_path, call, error, words):
    with pytest.raises(error, match=words):
        call(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def _prediction_log_class():
    """`PredictionLog` as tensorflow_serving/apis define it, as far as warm-up uses it."""
    file = descriptor_pb2.FileDescriptorProto(name="w.proto", package="w", syntax="proto3")
    string, bytes_, message = 9, 12, 11

    def define(parent, name, *fields):
        made = parent.add(name=name)
        for field, number, kind, type_name, label in fields:
            made.field.add(name=field, number=number, type=kind, type_name=type_name, label=label)
        return made

    top = file.message_type
    define(top, "Spec", ("name", 1, string, None, 1), ("signature_name", 3, string, None, 1))
    request = define(
        top, "Request",
        ("model_spec", 1, message, ".w.Spec", 1), ("inputs", 2, message, ".w.Request.Entry", 3),
    )  # fmt: skip
    define(request.nested_type, "Entry", ("key", 1, string, None, 1), ("value", 2, bytes_, None, 1))
    define(top, "PredictLog", ("request", 1, message, ".w.Request", 1))
    define(top, "PredictionLog", ("predict_log", 6, message, ".w.PredictLog", 1))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("w.PredictionLog"))


def test_warm_up_records_decode_and_run(exported):
    model, path, signatures = exported("lstm")
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    ran = {}
    for record in tf.data.TFRecordDataset(str(file)):
        log = _prediction_log_class().FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "served"
        inputs = {
            entry.key: tf.make_ndarray(tensor_pb2.TensorProto.FromString(entry.value))
            for entry in request.inputs
        }
        name = request.model_spec.signature_name
        y = signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
        ran[name] = inputs, y
    assert set(ran) == {"serving_default", "step", "initial_state"}
    inputs, y = ran["serving_default"]
    np.testing.assert_allclose(y["outputs"], model(inputs["x"]), rtol=1e-5, atol=1e-6)


def test_warm_up_records_are_those_of_the_serving_api():
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    x = np.arange(300, dtype="float32").reshape(1, 300)
    log = apis.PredictionLog.FromString(warmup.prediction_log("m", "step", {"x": x}))
    request = log.predict_log.request
    assert (request.model_spec.name, request.model_spec.signature_name) == ("m", "step")
    np.testing.assert_array_equal(tf.make_ndarray(request.inputs["x"]), x)
