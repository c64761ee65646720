"""Small compiled models with everything that may stand in a file, and data to score them on."""

import contextlib
import gzip
import hashlib
from unittest import mock

import dummy_sources as dummy
import keras
import numpy as np

import rnnzoo
from rnnzoo import initializers, metrics, tasks, zoo
from rnnzoo.layers import constraints
from rnnzoo.tasks import _mnist
from rnnzoo.tasks.atis import Atis
from rnnzoo.tasks.polyphonic_music import JSBChorales, Nottingham
from rnnzoo.tasks.smnist import SequentialMNIST
from rnnzoo.training import TruncatedBPTT, optimizers, schedules

L = keras.layers
B, T, F, H = 3, 5, 3, 4

SIZES = {"train_size": 4, "validation_size": 2, "test_size": 2}
TASKS = {
    "copy": {"delay": 2, "recalled": 2, **SIZES},
    "adding": {"length": 8, **SIZES},
    "smnist": {"rows": True, "downsample": 4},
    "pmnist": {"downsample": 7},
    "digits": {"rows": True},
    "transfer_copy": {"delay": 2, "recalled": 2, **SIZES},
    "teacher_student": {"length": 6, **SIZES},
    "jsb": {},
    "nottingham": {},
    "atis": {"embedding_size": 4},
    "atis both": {"embedding_size": 4, "target": "both"},
    "ptb_word": {"steps": 6, "evaluation_batch_size": 2},
    "ptb_char": {"steps": 6, "evaluation_batch_size": 2},
    "wikitext2": {"steps": 6, "evaluation_batch_size": 2},
    "tiny_shakespeare": {"steps": 6, "evaluation_batch_size": 2},
}
# Their intent is read from the mean over time, which no walk in strides knows.
NOT_TRUNCATED = {"atis both"}
WITHOUT_DATA_DIR = {"copy", "adding", "digits", "transfer_copy", "teacher_student"}

LAYERS = {
    "ComplexRNN": {"state_size": 6},
    "GatedConv": {"levels": 2, "bottleneck": 2},
    "HDetachLSTM": {"p": 0.5},
    "LRU": {"state_size": 6, "parametrization": "polar", "r_min": 0.1},
    "LRUBlock": {"state_size": 6},
    "LinearRNN": {"heads": 3, "state_size": 6},
    "RunningMean": {},
    "StableLSTM": {"contraction": 0.9},
    "StableRNN": {"contraction": 0.8, "activation": "relu"},
    "TCN": {"levels": 2, "kernel_size": 2},
    "TransformerEncoder": {"levels": 1, "heads": 2},
    "WaveNet": {"levels": 2},
}
CONSTRAINTS = {
    "SpectralNorm": {"bound": 0.9},
    "ColumnL1": {"radii": [0.9, None]},
    "UpperBound": {"bounds": [0.9, None]},
}
INITIALIZERS = {
    "Chrono": {"units": H, "t_max": 20, "seed": 1},
    "Ring": {"r_min": 0.5, "seed": 1},
    "TeacherEigenvalues": {"nu_0": 0.5, "seed": 1},
}


def written(folder):
    """Yield `(name, compiled model, {"x": ..., "y": ..., "w": ...})` for each file to write."""
    yield from _of_layers()
    yield from _of_cells()
    yield from _of_parts()
    yield from _nested()
    with dummy_data(folder):
        yield from _of_tasks(folder)


@contextlib.contextmanager
def dummy_data(folder):
    """The dummy files are the originals, and MNIST is seven images."""
    with contextlib.ExitStack() as stack:
        for kind, sizes in ((JSBChorales, (5, 2, 3)), (Nottingham, (4, 3, 2)), (Atis, (5, 2, 3))):
            _patch_sizes(stack, kind, sizes)
        for name in ("poly_music", "atis", "ptb", "wikitext-2", "tiny_shakespeare"):
            stack.enter_context(dummy.patched(name))
        _patch_sizes(stack, SequentialMNIST, (3, 2, 2))
        stack.enter_context(mock.patch.dict(_mnist.FILES, _mnist_files(folder)))
        yield


def _patch_sizes(stack, kind, sizes):
    for split, size in zip(tasks._task.SPLITS, sizes):
        stack.enter_context(mock.patch.object(kind, f"{split}_size", size))


def _mnist_files(folder):
    (folder / "mnist").mkdir()
    rng, hashes = np.random.default_rng(0), {}
    for part, count in (("train", 5), ("test", 2)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        hashes[part] = {}
        for file, array in zip(_mnist.FILES[part], (images, np.arange(count, dtype=np.uint8))):
            content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            content += array.tobytes()
            (folder / "mnist" / f"{file}.gz").write_bytes(gzip.compress(content))
            hashes[part][file] = hashlib.sha256(content).hexdigest()
    return hashes


def _of_tasks(folder):
    for case, options in TASKS.items():
        name = case.split()[0]
        if name not in WITHOUT_DATA_DIR:
            options = {**options, "data_dir": folder if "mnist" in name else dummy.FOLDER}
        task = tasks.get(name, batch_size=2, **options)
        x, y, *weights = next(iter(task.test))
        data = {"x": x, "y": y, **dict(zip("w", weights))}
        data = keras.tree.map_structure(np.asarray, data)
        for truncated in (False, True):
            if truncated and case in NOT_TRUNCATED:
                continue
            model = task.build_model(zoo.build(task.default_layer, H))
            if truncated:
                model = TruncatedBPTT(model, k1=2, stateful=task.stream)
            model.compile(task.optimizer(), task.loss, metrics=task.metrics)
            yield f"{case}{' truncated' if truncated else ''}", model, data


def _sequential(*layers, optimizer="adam", loss="mse", compiled_metrics=("mae",), features=F):
    model = keras.Sequential([keras.Input((None, features)), *layers])
    model.compile(optimizer, loss, metrics=list(compiled_metrics))
    return model


def _with_data(name, model):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(B, T, F)).astype("float32")
    shape = [
        B if axis == 0 else T if size is None else size
        for axis, size in enumerate(getattr(model, "model", model).output_shape)
    ]
    return name, model, {"x": x, "y": rng.normal(size=shape).astype("float32")}


def _made(name, options):
    units = F if name == "RunningMean" else H  # which is as wide as its inputs
    return getattr(rnnzoo.layers, name)(units, **options)


def _of_layers():
    for name, options in LAYERS.items():
        layer = _made(name, options)
        yield _with_data(name, _sequential(layer, L.Dense(2)))
    wrapped = rnnzoo.layers.TruncatedWrapper(L.GRU(H), k=2, mode="gradient")
    yield _with_data("TruncatedWrapper", _sequential(wrapped))
    both = L.Bidirectional(rnnzoo.layers.HDetachLSTM(H, return_sequences=True))
    yield _with_data("Bidirectional", _sequential(both, L.TimeDistributed(L.Dense(2))))


def _of_cells():
    for name, options in LAYERS.items():
        layer = _made(name, options)
        cell = getattr(layer, "cell", None)
        if type(cell).__module__.startswith("rnnzoo.") and cell.state_size:
            yield _with_data(f"RNN of {name}'s cell", _sequential(L.RNN(cell)))


def _of_parts():
    for name, options in CONSTRAINTS.items():
        constraint = getattr(constraints, name)(**options)
        option = "bias" if name == "UpperBound" else "kernel"
        layer = L.Dense(2, **{f"{option}_constraint": constraint})
        yield _with_data(name, _sequential(layer))
    for name, options in INITIALIZERS.items():
        initializer = getattr(initializers, name)(**options)
        option = "bias" if name == "Chrono" else "recurrent"
        layer = L.LSTM(H, unit_forget_bias=False, **{f"{option}_initializer": initializer})
        yield _with_data(name, _sequential(layer))
    sgd = keras.optimizers.SGD(schedules.InverseTime(0.5), momentum=0.9)
    yield _with_data("InverseTime", _sequential(L.Dense(2), optimizer=sgd))
    groups = [{"match": "bias", "rate": 0.5}]
    grouped = optimizers.GroupedAdamW(0.1, weight_decay=0.1, groups=groups)
    yield _with_data("GroupedAdamW", _sequential(L.Dense(2), optimizer=grouped))
    half = metrics.HalfSquaredError()
    yield _with_data("HalfSquaredError", _sequential(L.Dense(2), loss=half))


def _nested():
    """A model that is called twice in another, and a trainer over it."""
    below = rnnzoo.layers.LRU(H, return_sequences=True)
    inner = keras.Sequential([keras.Input((None, F)), below, L.Dense(F)])
    inputs = keras.Input((None, F))
    hidden = inner(inputs)
    outputs = L.LSTM(H, return_sequences=True)(inner(hidden))
    outer = keras.Model(inputs, outputs)
    outer.compile("adam", metrics.HalfSquaredError())
    yield _with_data("nested", outer)
    trainer = TruncatedBPTT(outer, k1=2, k2=3)
    trainer.compile("adam", metrics.HalfSquaredError())
    yield _with_data("nested truncated", trainer)
