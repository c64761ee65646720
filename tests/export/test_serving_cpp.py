"""The C++ loader of examples/serving_cpp builds, runs an export, and computes what Python does."""

import json
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import rnnzoo
import rnnzoo.layers as zoo
from rnnzoo.export import export_model

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "examples" / "serving_cpp"
B, T, F = 2, 6, 3


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    """The program, built by its own Makefile."""
    for tool in ("g++", "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed, which builds the C++ loader")
    if not sys.platform.startswith("linux"):
        pytest.skip("the C++ libraries inside the TensorFlow wheel are linked on Linux alone")
    program = tmp_path_factory.mktemp("cpp") / "loader"
    given = (f"PYTHON={sys.executable}", f"OUT={program}", "OPTIMIZE=-O0")  # builds sooner
    command = ["make", "-C", str(FOLDER), *given]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """`(model, version's folder)` of a stack with states of several kinds."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((None, F)),
            zoo.HDetachLSTM(4, return_sequences=True),
            zoo.LRU(5, state_size=3, return_sequences=True),
            zoo.TruncatedWrapper(layers.SimpleRNN(3, return_sequences=True), k=3),
            layers.Dense(2),
        ]
    )
    return model, export_model(model, tmp_path_factory.mktemp("served") / "stack", check=False)


def run(loader, *arguments, code=0):
    command = [str(loader), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def tensors(output):
    """`{(label, name): array}` of what `--print` prints."""
    found = {}
    for line in output.splitlines():
        head, colon, values = line.partition(":")
        if colon and head.split()[0].startswith(("whole", "step")):
            label, name, *shape = head.split()
            found[label, name] = np.array(values.split(), "float64").reshape(
                [int(n) for n in shape]
            )
    return found


def test_whole_sequences_and_steps_are_those_of_python(loader, stack, tmp_path):
    model, folder = stack
    x = np.random.default_rng(0).normal(size=(B, T, F)).astype("float32")
    values = " ".join(np.format_float_positional(v, unique=True) for v in x.ravel())
    (tmp_path / "inputs.txt").write_text(f"x {B} {T} {F}: {values}\n")
    output = run(loader, folder, "--inputs", tmp_path / "inputs.txt", "--print", "--benchmark", 20)
    found, expected = tensors(output), model(x).numpy()
    np.testing.assert_allclose(found["whole", "outputs"], expected, rtol=1e-5, atol=1e-6)
    for t in range(T):
        np.testing.assert_allclose(
            found[f"step{t}", "outputs"], expected[:, t], rtol=1e-5, atol=1e-6
        )
    record = json.loads(output.splitlines()[-1])
    assert (record["calls"], record["rows"], record["threads"]) == (20, B, 1)
    assert 0 < record["p50_us"] <= record["p99_us"]
    states = json.loads((folder / "serving.json").read_text())["states"]
    assert len(states) == 7
    for name in states:
        name = f"next_state_{name}"
        np.testing.assert_allclose(
            found[f"step{T - 1}", name], found["whole", name], rtol=1e-5, atol=1e-6
        )


def test_xla_compiled_functions_are_refused_as_by_a_stock_server(loader, tmp_path):
    """What the loader refuses is why `export` lets no compiled function through."""
    import tensorflow as tf

    class Compiled(tf.Module):
        @tf.function(jit_compile=True)
        def double(self, x):
            return {"outputs": 2.0 * x}

    module = Compiled()
    spec = tf.TensorSpec([None, None, 1], name="x")
    rows = tf.TensorSpec([None], tf.int32, "rows")

    def served(function, spec):
        return tf.function(function).get_concrete_function(spec)

    signatures = {
        "serving_default": served(lambda x: module.double(x), spec),
        "step": served(lambda x: {"outputs": x}, tf.TensorSpec([None, 1], name="x")),
        "initial_state": served(lambda rows: {"state_h": rows}, rows),
    }
    tf.saved_model.save(module, str(tmp_path / "compiled"), signatures=signatures)
    assert "XLA" in run(loader, tmp_path / "compiled", code=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give the folder"),
        (["{}/nothing"], "nothing"),
        (["{}", "--rows", "0"], "--rows must be a number of at least 1"),
        (["{}", "--rwos", "1"], "there is no option --rwos"),
    ],
)
def test_refusals(loader, stack, arguments, words):
    assert words in run(loader, *(a.replace("{}", str(stack[1])) for a in arguments), code=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [preset.name for preset in rnnzoo.list_presets()])
def test_every_preset(loader, name, tmp_path):
    folder = export_model(rnnzoo.load(name), tmp_path / name, check=False)
    # On the copying task float32 itself is 1.3e-5 from float64 after 50 steps.
    output = run(loader, folder, "--steps", 50, "--tolerance", 3e-5)
    assert "largest difference of 50 steps" in output
