"""Other forms of an export, what stands beside one, and its check: all against the source."""

import json
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from google.protobuf import text_format
from keras import layers
from tensorflow_serving.config import model_server_config_pb2

import rnnzoo
import rnnzoo.layers as zoo
from rnnzoo import checkpoints
from rnnzoo.cli import main
from rnnzoo.export import (
    ExportError,
    _errors,
    _litert,
    _onnx,
    _saved_model,
    export_model,
    load_check,
)
from rnnzoo.tasks.originals import _sources

F = 3
Wrapper = zoo.TruncatedWrapper


def _sequential(*stack, shape=(None, F), dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *stack])


def _x(batch, time, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, time, F)).astype("float32")


def _streamed(calls, x):
    """Outputs `[B, T, U]` of a step after the other, and the final states."""
    state = calls["initial_state"]({"rows": np.zeros([len(x)], "int32")})
    outputs = []
    for t in range(x.shape[1]):
        found = calls["step"]({"x": x[:, t], **state})
        outputs.append(found.pop("outputs"))
        state = {k.removeprefix("next_"): v for k, v in found.items()}
    return np.stack(outputs, 1), state


def _whole(calls, x):
    return calls["serving_default"]({"x": x, "lengths": np.full([len(x)], x.shape[1], "int32")})


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """`(model, directory)` of a SavedModel, and of the file it was made of."""
    folder = tmp_path_factory.mktemp("formats")
    keras.utils.set_random_seed(3)
    model = _sequential(layers.GRU(4, name="memory"), layers.Dense(2))
    checkpoints.save_model(model, folder / "m.keras")
    export_model(model, folder / "m", source=str(folder / "m.keras"), check=False)
    return model, folder


@pytest.mark.parametrize(
    ("format", "module", "batch", "layer"),
    [
        # Its own loop, in complex numbers, is none that ONNX takes.
        pytest.param("onnx", _onnx, 3, lambda **given: zoo.LRU(4, **given), id="onnx"),
        pytest.param("litert", _litert, 1, lambda **given: layers.LSTM(4, **given), id="litert"),
    ],
)
def test_steps_and_whole_sequences_are_the_sources(tmp_path, format, module, batch, layer):
    model = _sequential(layer(return_sequences=True), layers.Dense(2))
    folder = export_model(model, tmp_path / "m", format=format, check=False)
    described = json.loads((folder / "serving.json").read_text())
    assert described["format"] == format
    assert described["signatures"]["step"]["inputs"]["x"]["shape"] == [
        1 if format == "litert" else None,
        F,
    ]
    calls = module.callables(folder, ["serving_default", "step", "initial_state"])
    x = _x(batch, 9)
    expected, whole, (steps, final) = model(x).numpy(), _whole(calls, x), _streamed(calls, x)
    np.testing.assert_allclose(whole["outputs"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(steps, expected, rtol=1e-5, atol=1e-6)
    cut = calls["serving_default"]({"x": x, "lengths": np.full([batch], 4, "int32")})
    _, after = _streamed(calls, x[:, :4])
    assert sorted(final) == sorted(f"state_{name}" for name in described["states"])
    for name, value in final.items():
        np.testing.assert_allclose(value, whole[f"next_{name}"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(after[name], cut[f"next_{name}"], rtol=1e-5, atol=1e-6)


def test_a_window_streams_on_its_last_inputs(tmp_path):
    model = _sequential(
        Wrapper(layers.GRU(4, return_sequences=True), k=3, name="window"),
        Wrapper(layers.LSTM(2, name="lstm"), k=2, mode="chunk"),
    )
    folder = export_model(model, tmp_path / "m")
    described = json.loads((folder / "serving.json").read_text())
    assert described["states"] == ["window_past", "window_output", "lstm_h", "lstm_c"]
    shapes = {n: s["shape"] for n, s in described["signatures"]["step"]["inputs"].items()}
    assert shapes["state_window_past"] == [None, 2 * (F + 1)]
    calls = _saved_model.callables(folder, list(described["signatures"]))
    x = _x(2, 7)
    steps, _ = _streamed(calls, x)
    for t in range(7):
        np.testing.assert_allclose(steps[:, t], model(x[:, : t + 1]), rtol=1e-5, atol=1e-6)
    state = calls["initial_state"]({"rows": np.zeros([2], "int32")})
    nothing = calls["serving_default"]({"x": x, "lengths": np.zeros([2], "int32")})
    for name, value in state.items():
        np.testing.assert_array_equal(value, nothing[f"next_{name}"])


def test_the_servers_configuration_is_what_it_reads(served):
    _, folder = served
    config = folder / "m" / "1" / "tensorflow_serving"
    models = text_format.Parse(
        (config / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (one,) = models.model_config_list.config
    assert (one.name, one.base_path, one.model_platform) == ("m", "/models/m", "tensorflow")
    assert one.model_version_policy.latest.num_versions == 1
    assert "enable: true" in (config / "monitoring.config").read_text()
    batching = (config / "batching_parameters.txt").read_text()
    assert "pad_variable_length_inputs: true" in batching
    command = (config / "docker_run.sh").read_text()
    subprocess.run(["sh", "-n"], input=command, text=True, check=True)
    for name in ("models.config", "batching_parameters.txt", "monitoring.config"):
        assert f"=/config/{name}" in command


def test_load_check_of_the_command_line(served, tmp_path):
    model, folder = served
    line = ["load-check", str(folder / "m")]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0, result.output
    differences = {}
    for line_ in result.output.splitlines()[-3:]:
        what, _, number = line_.rpartition(" ")
        differences[what.strip()] = float(number)
    assert sorted(differences) == [
        "padded sequences against each alone",
        "step by step against whole sequences",
        "whole sequences against the source",
    ]
    assert max(differences.values()) < 1e-5
    model.layers[-1].bias.assign_add([0.0, 0.01])
    checkpoints.save_model(model, tmp_path / "other.keras")
    model.layers[-1].bias.assign_add([0.0, -0.01])
    result = CliRunner().invoke(main, [*line, "--source", str(tmp_path / "other.keras")])
    assert result.exit_code == 2
    assert "differs from its source: output 'outputs' by 0.01" in result.output


def test_load_check_refuses_what_is_no_export_or_another_model(served, tmp_path):
    _, folder = served
    with pytest.raises(ExportError, match="differs from its source: serving_default is"):
        load_check(folder / "m" / "1", _sequential(layers.GRU(5, name="memory"), layers.Dense(2)))
    with pytest.raises(checkpoints.CheckpointError, match="there is no export in it"):
        load_check(tmp_path, served[0])
    (tmp_path / "serving.json").write_text('{"signatures": {}}')
    with pytest.raises(checkpoints.CheckpointError, match="no description of an export of this"):
        load_check(tmp_path, served[0])


def test_wrong_formats(served, tmp_path):
    model, folder = served
    with pytest.raises(ValueError, match="`format` must be one of 'saved_model', 'litert', 'onnx'"):
        export_model(model, tmp_path / "m", format="tflite")
    with pytest.raises(ValueError, match=r"must hold exports of one format, .* holds saved_model"):
        export_model(model, folder / "m", format="onnx")
    assert sorted(p.name for p in (folder / "m").iterdir()) == ["1"]


def test_what_a_converter_refuses_comes_with_its_reason(tmp_path):
    class Complex(layers.Layer):
        def call(self, x):
            return tf.math.real(tf.signal.fft(tf.cast(x, tf.complex64)))

    model = _sequential(layers.GRU(4), Complex())
    with pytest.raises(ExportError, match=r"The converter to ONNX refuses this model: .*FFT"):
        export_model(model, tmp_path / "m", format="onnx")
    assert list((tmp_path / "m").iterdir()) == []
    with (
        pytest.raises(ExportError, match=r"'tf\.FFT' op requires complex"),
        _errors.converting("LiteRT"),
    ):
        raise RuntimeError("loc(unknown): error:\n 'tf.FFT' op requires complex\n note: here")


MODELS = {
    "hdetach_lstm": lambda: _sequential(zoo.HDetachLSTM(4, return_sequences=True)),
    "linear_rnn": lambda: _sequential(zoo.LinearRNN(4, return_sequences=True)),
    "complex_rnn": lambda: _sequential(zoo.ComplexRNN(4, return_sequences=True)),
    "lru_blocks": lambda: rnnzoo.stack([zoo.LRUBlock(4), zoo.LRUBlock(4)], F, 2, pooling=None),
    "mean_of_lru": lambda: rnnzoo.stack(zoo.LRU(4), F, 2, pooling="mean", mlp=3),
    "last_of_lru": lambda: rnnzoo.stack(zoo.LRU(4), F, 2, pooling="last"),
    "stable": lambda: rnnzoo.stack([zoo.StableRNN(4), zoo.StableLSTM(3)], F, 2, pooling="last"),
    "tcn": lambda: _sequential(zoo.TCN(4, levels=2, kernel_size=2, return_sequences=True)),
    "gated_conv": lambda: _sequential(zoo.GatedConv(4, levels=2, return_sequences=True)),
    "wave_net": lambda: _sequential(zoo.WaveNet(4, levels=2, repeats=1)),
    "truncated": lambda: rnnzoo.truncate(MODELS["stable"](), k=3),
    "window_of_lru": lambda: _sequential(Wrapper(zoo.LRU(4, return_sequences=True), k=3)),
    "window_of_one": lambda: _sequential(Wrapper(layers.GRU(4), k=1), layers.Dense(2)),
    "gradient": lambda: _sequential(Wrapper(zoo.StableRNN(4), k=2, mode="gradient")),
    "masked": lambda: _sequential(
        layers.Embedding(9, 3, mask_zero=True), layers.GRU(4), shape=(None,), dtype="int32"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "litert", "onnx"])
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_in_every_format(tmp_path, name, format):
    """The check at export is the test: steps, lengths and whole sequences against the source."""
    folder = export_model(MODELS[name](), tmp_path / "m", format=format)
    described = json.loads((folder / "serving.json").read_text())
    assert sorted(described["signatures"]) == ["initial_state", "serving_default", "step"]
    assert described["states"]
    assert described["largest_difference_from_source"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "litert", "onnx"])
def test_attention_is_whole_sequences_alone(tmp_path, format):
    encoder = zoo.TransformerEncoder(8, levels=1, heads=2, max_length=16, return_sequences=True)
    folder = export_model(_sequential(encoder), tmp_path / "m", format=format)
    described = json.loads((folder / "serving.json").read_text())
    assert list(described["signatures"]) == ["serving_default"]
    assert "what its attention needs of the past" in described["without_states_because"]
    assert described["largest_difference_from_source"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", [preset.name for preset in rnnzoo.list_presets()])
def test_presets_in_onnx(tmp_path, name):
    model = rnnzoo.load(name)
    folder = export_model(model, tmp_path / name, format="onnx")
    described = json.loads((folder / "serving.json").read_text())
    assert described["largest_difference_from_source"] < 1e-5
    result = CliRunner().invoke(main, ["load-check", str(folder), "--source", name])
    assert result.exit_code == 0, result.output


SYNTHETIC = {"copy": {"delay": 3}, "adding": {}, "teacher_student": {}, "transfer_copy": {}}
REAL = ("smnist", "pmnist", "digits", "jsb", "nottingham", "atis", "ptb_word", "ptb_char")
REAL += ("wikitext2", "tiny_shakespeare")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SYNTHETIC, *REAL])
def test_the_model_of_every_task(tmp_path, name, request):
    if name in REAL:
        request.getfixturevalue("real_data")(*_sources.SOURCES)
    task = rnnzoo.tasks.get(name, **SYNTHETIC.get(name, {}))
    folder = export_model(task.build_model(layers.GRU(4)), tmp_path / "m")
    described = json.loads((folder / "serving.json").read_text())
    assert sorted(described["signatures"]) == ["initial_state", "serving_default", "step"]
