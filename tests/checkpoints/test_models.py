"""Saving is all or nothing; loading names the file and the fault."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import keras
import ml_dtypes
import numpy as np
import pytest

from rnnzoo import checkpoints
from rnnzoo.checkpoints import CheckpointError, load_arrays, load_model, save_arrays, save_model


def _model(units=4):
    return keras.Sequential(
        [keras.layers.Input((None, 3)), keras.layers.SimpleRNN(units), keras.layers.Dense(2)]
    )


def _members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.fixture
def saved(tmp_path):
    return save_model(_model(), tmp_path / "good.keras")


def test_a_saved_model_comes_back_with_the_same_weights(tmp_path):
    model = _model()
    path = save_model(model, str(tmp_path / "deep" / "er" / "m.keras"))
    loaded = load_model(path)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == ["m.keras"]
    assert not loaded.compiled


def test_compile_true_brings_the_optimizer_back(tmp_path):
    model = _model()
    model.compile(keras.optimizers.Adam(0.125), "mse")
    model.fit(np.ones((4, 5, 3)), np.ones((4, 2)), verbose=0)
    path = save_model(model, tmp_path / "m.keras")
    loaded = load_model(path, compile=True)
    assert int(loaded.optimizer.iterations) == 1
    assert float(loaded.optimizer.learning_rate) == 0.125
    assert not load_model(path).compiled


def test_a_save_through_a_link_replaces_the_file_it_points_to(tmp_path, saved):
    link = tmp_path / "link.keras"
    link.symlink_to(saved)
    save_model(_model(7), link)
    assert link.is_symlink()
    assert load_model(saved).layers[0].units == 7


def test_a_save_that_fails_midway_leaves_the_good_file(saved, monkeypatch):
    before = saved.read_bytes()

    def half(self, path, *args, **kwargs):
        path.write_bytes(b"PK half")
        raise OSError("No space left on device")

    monkeypatch.setattr(keras.Model, "save", half)
    with pytest.raises(OSError, match="No space left"):
        save_model(_model(), saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["good.keras"]


def test_a_writer_killed_midway_leaves_the_good_file(tmp_path):
    path = tmp_path / "state.npz"
    save_arrays(path, {"x": np.arange(4)}, {"epoch": 1})
    code = f"""
        import sys, time
        sys.path.insert(0, {os.getcwd()!r})
        from rnnzoo.checkpoints import replacing
        with replacing({str(path)!r}) as part:
            part.write_bytes(b"PK half a state")
            print("half", flush=True)
            time.sleep(60)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout.readline().strip() == "half"
        child.send_signal(signal.SIGKILL)
    arrays, metadata = load_arrays(path)
    assert metadata == {"epoch": 1}
    np.testing.assert_array_equal(arrays["x"], np.arange(4))


def test_nothing_is_renamed_before_it_is_on_the_disk(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b))[1])
    save_arrays(tmp_path / "a.npz", {}, {})
    assert order == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.9, -1])
def test_a_truncated_model_is_refused_by_name(saved, keep):
    whole = saved.read_bytes()
    keep = int(keep * len(whole)) if isinstance(keep, float) else keep
    saved.write_bytes(whole[:keep])
    with pytest.raises(CheckpointError, match=r"good\.keras: it is (empty|truncated|no zip)"):
        load_model(saved)


@pytest.mark.parametrize("position", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_one_flipped_byte_is_refused_or_harmless(saved, position):
    expected = load_model(saved).get_weights()
    content = bytearray(saved.read_bytes())
    content[int(position * len(content))] ^= 0x55
    saved.write_bytes(content)
    try:
        weights = load_model(saved).get_weights()
    except CheckpointError as error:
        assert "good.keras" in str(error)  # noqa: PT017
    else:
        for a, b in zip(weights, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_flipped_weight_byte_fails_the_checksum(saved):
    weights = _members(saved)["model.weights.h5"]
    content = bytearray(saved.read_bytes())
    content[content.index(weights) + len(weights) // 2] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"corrupted: the checksum of model\.weights\.h5"):
        load_model(saved)


def _foreign_files(folder):
    """name -> (content, words expected)"""
    good = _members(save_model(_model(), folder / "a.keras"))
    other = _members(save_model(_model(5), folder / "b.keras"))["model.weights.h5"]
    small = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    small = _members(save_model(small, folder / "c.keras"))["model.weights.h5"]
    config = json.loads(good["config.json"])
    unknown = json.loads(good["config.json"])
    unknown["config"]["layers"][1].update(
        module=None, class_name="Attractor", registered_name="elsewhere>Attractor"
    )
    layer = keras.saving.serialize_keras_object(keras.layers.Dense(2))
    h5 = good["model.weights.h5"]
    bad_units = json.loads(good["config.json"])
    bad_units["config"]["layers"][1]["config"]["units"] = -4
    without_config = {k: v for k, v in good.items() if k != "config.json"}
    without_weights = {k: v for k, v in good.items() if k != "model.weights.h5"}
    return {
        "text": (b"not a model at all", "it is no zip archive"),
        "hdf5": (h5, "it is an HDF5 file"),
        "other_zip": ({"readme.txt": b"hello"}, "without a Keras model"),
        "no_config": (without_config, "without a Keras model"),
        "no_weights": (without_weights, "without a Keras model"),
        "no_json": ({**good, "config.json": b"{"}, "config.json is not JSON"),
        "json_list": ({**good, "config.json": b"[1]"}, "does not describe a Keras model"),
        "unknown_class": (_with_config(good, unknown), "'Attractor', which is not known"),
        "bad_argument": (_with_config(good, bad_units), "config.json does not describe a model"),
        "a_layer": (_with_config(good, layer), "holds a Dense, which is no Keras model"),
        "no_class": (_with_config(good, {"config": config["config"]}), "does not describe"),
        "shapes": ({**good, "model.weights.h5": other}, r"weights are damaged or do not fit"),
        "other_weights": ({**good, "model.weights.h5": small}, "weights are damaged or do not fit"),
        "no_h5": ({**good, "model.weights.h5": b"x" * 99}, "weights are damaged or do not fit"),
        "half_h5": ({**good, "model.weights.h5": h5[: len(h5) // 2]}, "weights are damaged"),
        "h5_header": ({**good, "model.weights.h5": h5[:8] + b"\xff" * 90 + h5[98:]}, "weights are"),
    }


def _with_config(members, config):
    return {**members, "config.json": json.dumps(config).encode()}


_FOREIGN = [
    "text", "hdf5", "other_zip", "no_config", "no_weights", "no_json", "json_list",
    "unknown_class", "bad_argument", "a_layer", "no_class", "shapes", "other_weights", "no_h5",
    "half_h5", "h5_header",
]  # fmt: skip


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    files = _foreign_files(tmp_path_factory.mktemp("foreign"))
    assert list(files) == _FOREIGN
    return files


@pytest.mark.parametrize("name", _FOREIGN)
def test_a_foreign_or_damaged_file_is_refused_by_name(tmp_path, foreign, name):
    content, words = foreign[name]
    path = tmp_path / f"{name}_file.keras"
    path.write_bytes(content) if isinstance(content, bytes) else _zip(path, content)
    with pytest.raises(CheckpointError, match=words) as refused:
        load_model(path)
    assert f"{name}_file.keras" in str(refused.value)


def test_python_code_in_a_file_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    path = save_model(model, tmp_path / "code.keras")
    with pytest.raises(CheckpointError, match=r"code\.keras: it holds Python code"):
        load_model(path)


def test_unknown_classes_can_be_passed(tmp_path):
    class Scale(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    model = keras.Sequential([keras.layers.Input((3,)), Scale()])
    path = save_model(model, tmp_path / "own.keras")
    with pytest.raises(CheckpointError, match="'Scale', which is not known here"):
        load_model(path)
    assert isinstance(load_model(path, custom_objects={"Scale": Scale}).layers[0], Scale)


def test_the_zoos_layers_are_known_without_their_import(tmp_path):
    from rnnzoo.layers import HDetachLSTM

    model = keras.Sequential([keras.layers.Input((None, 3)), HDetachLSTM(4, p=0.5)])
    path = save_model(model, tmp_path / "zoo.keras")
    assert load_model(path).layers[0].p == 0.5


def test_missing_files_folders_and_other_endings(tmp_path, saved):
    with pytest.raises(CheckpointError, match=r"gone\.keras: there is no such file"):
        load_model(tmp_path / "gone.keras")
    with pytest.raises(CheckpointError, match=r"it is a folder; expected a \.keras file"):
        load_model(tmp_path)
    renamed = saved.rename(tmp_path / "good.zip")
    with pytest.raises(CheckpointError, match=r"good\.zip: the name .* must end in \.keras"):
        load_model(renamed)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: save_model("model", p / "m.keras"), TypeError, "`model` must be a keras.Model"),
        (lambda p: save_model(_model(), 3), TypeError, "`path` must be a string or a path"),
        (lambda p: save_model(_model(), p / "m.h5"), ValueError, r"`path` must end in \.keras"),
        (
            lambda p: save_model(keras.Sequential([keras.layers.LSTM(2)]), p / "m.keras"),
            ValueError,
            "`model` must be built",
        ),
        (lambda p: load_model(None), TypeError, "`path` must be a string or a path"),
        (lambda p: load_arrays(7), TypeError, "`path` must be a string or a path"),
        (
            lambda p: save_arrays(p / "a.npz", {"names": np.array(["a"])}, {}),
            TypeError,
            r"`arrays` must hold numbers or booleans. Received: arrays\['names'\]",
        ),
        (
            lambda p: save_arrays(p / "a.npz", {"o": np.array([None])}, {}),
            TypeError,
            "`arrays` must hold numbers or booleans",
        ),
        (
            lambda p: save_arrays(p / "a.npz", {}, {"when": time}),
            TypeError,
            "`metadata` must hold plain JSON values",
        ),
    ],
)
def test_wrong_calls_leave_nothing_behind(tmp_path, call, error, words):
    with pytest.raises(error, match=words):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back_bit_for_bit(tmp_path):
    arrays = {
        "file": np.random.default_rng(0).normal(size=(3, 4)).astype("float32"),
        "a/b c": np.array(7, "int64"),
        "empty": np.zeros((0, 5), "float64"),
        "flags": np.array([True, False]),
        "half": np.arange(6, dtype="float32").reshape(2, 3).astype(ml_dtypes.bfloat16),
        "big": np.arange(3, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "complex": np.array([1 + 2j]),
    }
    metadata = {"epoch": 3, "curve": {"loss": [0.1, 1e-300]}, "best": None, "name": "ü"}
    path = save_arrays(tmp_path / "state.npz", arrays, metadata)
    loaded, read = load_arrays(path)
    assert read == metadata
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.astype(loaded[name].dtype).tobytes()
        assert loaded[name].flags.writeable


def _arrays_damage(path):
    whole, members = path.read_bytes(), _members(path)
    flipped = bytearray(whole)
    flipped[whole.index(members["array_00000.npy"]) + 130] ^= 1
    manifest = np.load(io.BytesIO(members["manifest.npy"])).tobytes()

    def with_manifest(old, new):
        file = io.BytesIO()
        np.save(file, np.frombuffer(manifest.replace(old, new), np.uint8))
        return {**members, "manifest.npy": file.getvalue()}

    return {
        "truncated": (whole[: len(whole) // 2], "it is truncated"),
        "flipped": (bytes(flipped), r"corrupted: the checksum of array_00000\.npy"),
        "text": (b"hello", "it is no zip archive; expected a file of saved arrays"),
        "zip": ({"x.txt": b"x"}, "but not of rnnzoo's arrays"),
        "later": (with_manifest(b'"version": 1', b'"version": 2'), "format version 2; this rel"),
        "other_format": (with_manifest(b"rnnzoo.arrays", b"another.array"), "but not of rnnzoo's"),
        "shape": (with_manifest(b"[2, 50]", b"[2, 51]"), "its content is damaged"),
        "dtype": (with_manifest(b'"float32"', b'"floot32"'), "its content is damaged"),
        "lost": ({"manifest.npy": members["manifest.npy"]}, "its content is damaged"),
    }


@pytest.mark.parametrize(
    "damage",
    ["truncated", "flipped", "text", "zip", "later", "other_format", "shape", "dtype", "lost"],
)
def test_damaged_arrays_are_refused_by_name(tmp_path, damage):
    path = save_arrays(tmp_path / "state.npz", {"w": np.ones((2, 50), "float32")}, {"epoch": 1})
    content, words = _arrays_damage(path)[damage]
    path.write_bytes(content) if isinstance(content, bytes) else _zip(path, content)
    with pytest.raises(CheckpointError, match=words) as refused:
        load_arrays(path)
    assert "state.npz" in str(refused.value)


def test_missing_arrays_are_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.npz: there is no such file"):
        load_arrays(tmp_path / "gone.npz")


def test_checkpoint_errors_are_value_errors():
    assert issubclass(checkpoints.CheckpointError, ValueError)
