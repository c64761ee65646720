"""The `rnnzoo` command: what it lists, what a run leaves behind, and how it says no."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import rnnzoo
from rnnzoo import checkpoints, training, zoo
from rnnzoo.cli import _common, main

SMALL = (
    "copy --units 4 --batch-size 10 --learning-rate 0.01 --set delay=2 --set train_size=40 "
    "--set validation_size=10 --set test_size=10"
)


def call(line, code=0):
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == code, result.output
    return result.output


def test_help_needs_no_tensorflow():
    script = (
        "import sys\nfrom rnnzoo.cli import main\n"
        "for line in (['--help'], ['train', '--help'], ['reproduce'], ['layers'], ['tasks'],\n"
        "             ['recipes'], ['--version']):\n"
        "    main(line, standalone_mode=False)\n"
        "print('heavy:', [m for m in ('tensorflow', 'keras', 'matplotlib') if m in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "heavy: []" in result.stdout
    for command in (
        "data",
        "tasks",
        "layers",
        "presets",
        "recipes",
        "train",
        "reproduce",
        "evaluate",
        "export",
        "load-check",
        "make-preset",
        "demo",
        "serve",
    ):
        assert re.search(rf"^  {command} ", result.stdout, re.MULTILINE)
    assert rnnzoo.__version__ in result.stdout


@pytest.mark.parametrize("name", zoo.LAYERS)
def test_layer_table_is_true(name):
    """Every option listed is taken, and its default is the constructor's."""
    options = zoo.LAYERS[name].options
    given = zoo.build(name, 4, **options).get_config()
    default = zoo.build(name, 4).get_config()
    assert given.pop("name") != default.pop("name")
    assert given == default


def test_tables():
    output = call("layers")
    for name in ("hdetach_lstm", "lstm", "gru", "simple_rnn", "stable_rnn", "stable_lstm", "lru"):
        assert name in output
    output = call("tasks")
    for word in ("copy", "adding", "smnist", "pmnist", "delay=100"):
        assert word in output
    output = call("presets")
    for preset in rnnzoo.list_presets():
        assert preset.name in output


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    output = call(f"train {SMALL} --p 0.5 --epochs 2 --seed 3 --out {out}")
    return out, output


def test_train(trained):
    out, output = trained
    record = json.loads((out / "metrics.json").read_text())
    assert record["settings"]["p"] == 0.5
    assert record["settings"]["units"] == 4
    assert record["task"]["delay"] == 2
    assert record["task"]["batch_size"] == 10
    assert record["task"]["seed"] == record["seed"] == 3
    assert record["optimizer"]["config"]["learning_rate"] == pytest.approx(0.01)
    assert record["optimizer"]["config"]["global_clipnorm"] == 1.0
    assert len(record["curve"]["loss"]) == record["epochs"] == 2
    assert f"Best epoch {record['best']['epoch']} of 2" in output
    assert re.search(rf"recall_accuracy +{record['test']['recall_accuracy']:.6g} ", output)
    assert "epoch 2/2" in output
    assert list((out / "logs" / "train").iterdir())


def test_evaluate_measures_the_same_score(trained):
    out, _ = trained
    record = json.loads((out / "metrics.json").read_text())
    score = f"{record['test']['recall_accuracy']:.6g}"
    output = call(f"evaluate {out / 'best.keras'}")
    assert "copy, 10 test sequences:" in output
    assert re.search(rf"recall_accuracy +{score} +stated {score}$", output, re.MULTILINE)
    other = call(f"evaluate {out / 'best.keras'} --set delay=9 --split validation --limit 5")
    assert "copy, 5 validation sequences:" in other
    assert "stated" not in other


def test_export(trained, tmp_path):
    out, _ = trained
    assert f"Written: {tmp_path / 'served' / '7'}" in call(
        f"export {out / 'best.keras'} {tmp_path / 'served'} --version 7"
    )
    assert (tmp_path / "served" / "7" / "saved_model.pb").is_file()


def test_make_preset(trained, tmp_path):
    out, _ = trained
    call(f"make-preset {out} {tmp_path / 'tiny'} --description tiny --published 99 --source paper")
    record = json.loads((out / "metrics.json").read_text())
    preset = json.loads((tmp_path / "tiny" / "metrics.json").read_text())
    assert preset["score"]["value"] == record["test"]["recall_accuracy"]
    assert preset["published"] == {"value": "99", "source": "paper"}
    output = call(f"make-preset {out} {tmp_path / 'b'} --description b --published 9", code=2)
    assert "`--published` and `--source` must be given together" in output


def test_same_command_again_goes_on(trained):
    out, _ = trained
    assert "reference" not in json.loads((out / "metrics.json").read_text())
    output = call(f"train {SMALL} --p 0.5 --epochs 3 --seed 3 --reference 0.75 --out {out}")
    assert "epoch 3/3" in output
    assert "epoch 2/3" not in output
    record = json.loads((out / "metrics.json").read_text())
    assert (record["parts"], record["reference"]) == (2, 0.75)
    assert record["test"]["recall_accuracy"] > 0


def test_truncated_bptt(tmp_path):
    call(f"train {SMALL} --layer lru --k1 8 --k2 16 --epochs 1 --out {tmp_path / 'run'}")
    record = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (record["settings"]["k1"], record["settings"]["k2"]) == (8, 16)
    assert record["test"]["loss"] > 0


REFUSED = [
    ("train nothing --out {}", r"`name` must be one of 'copy', .*name='nothing'"),
    (f"train {SMALL} --layer lstmm --out {{}}", r"`layer` must be one of .*layer='lstmm'"),
    (f"train {SMALL} --set delay=0 --out {{}}", r"`--set` must name delay once.*delay=0"),
    ("train copy --set delay=0 --out {}", r"`delay` must be an integer .*delay=0"),
    ("train copy --set delay=2.5 --out {}", r"`delay` must be an integer\. .*delay=2\.5"),
    ("train copy --set one_hot=yes --out {}", r"`one_hot` must be True or False.*'yes'"),
    ("train copy --set lenght=9 --out {}", r"`lenght` must be an option of the task copy.*=9"),
    ("train copy --set delay --out {}", r"`--set` must be KEY=VALUE\. Received: --set delay"),
    ("train copy --set seed=1 --out {}", r"`seed` must be given to the run.*seed=1"),
    ("train copy --set batch_size=5 --batch-size 6 --out {}", r"`batch_size` must be given once"),
    ("train copy --batch-size 0 --out {}", r"`batch_size` must be .*batch_size=0"),
    ("train copy --seed -1 --out {}", r"`seed` must be .*seed=-1"),
    (f"train {SMALL} --p 1.5 --out {{}}", r"`p` must be a number in \[0, 1\].*p=1\.5"),
    (f"train {SMALL} --layer gru --p 0.5 --out {{}}", r"`p` must be an option of the layer gru"),
    (f"train {SMALL} --layer-set detach=x --out {{}}", r"`detach` must be one of 'h', 'c'"),
    (f"train {SMALL} --layer-set p=0.1 --p 0.5 --out {{}}", r"`p` must be given once"),
    (f"train {SMALL} --learning-rate 0 --out {{}}", r"`learning_rate` must be .*=0\.0"),
    (f"train {SMALL} --epochs 0 --out {{}}", r"`epochs` must be .*epochs=0"),
    (f"train {SMALL} --k2 8 --out {{}}", r"`k2` must come with `k1`\. .*k2=8"),
    (f"train {SMALL} --k1 8 --k2 4 --out {{}}", r"`k2` .*k2=4"),
    (f"train {SMALL} --depth 0 --out {{}}", r"`depth` must be .*depth=0"),
    (f"train {SMALL} --schedule step --out {{}}", r"`schedule` must be one of .*'step'"),
    (f"train {SMALL} --schedule-set factor=2 --out {{}}", r"`factor` .* schedule constant"),
    ("reproduce rival --out {}", r"`id` must be one of 'rivals'.*id='rival'"),
    ("reproduce rivals --scale big --out {}", r"`scale` must be one of 'smoke'.*scale='big'"),
    ("reproduce rivals --task chess --out {}", r"`only` must be .*: one of copy, .*only='chess'"),
    ("train copy --units 0 --out {}", r"`units` must be .*units=0"),
    ("train copy --units x --out {}", r"Invalid value for '--units': 'x' is not a valid integer"),
    ("train copy", r"Missing option '--out'"),
    ("evaluate {}/none.keras", r"none\.keras: there is no such file"),
    ("evaluate no_such_preset", r"`name` must be one of the presets.*'no_such_preset'"),
    ("export {}/none.keras {}/served", r"none\.keras: there is no such file"),
    ("demo --seed -3 --out {}", r"`seed` must be .*seed=-3"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED, ids=[line for line, _ in REFUSED])
def test_refusals_are_one_line(tmp_path, line, words):
    output = call(line.replace("{}", str(tmp_path / "out")), code=2)
    message = output.strip().splitlines()[-1]
    assert message.startswith("Error: ")
    assert re.search(words, message)
    assert "Traceback" not in output
    assert not (tmp_path / "out").exists()


def test_other_settings_for_the_same_folder(trained):
    out, _ = trained
    output = call(f"train {SMALL} --p 0.25 --epochs 3 --seed 3 --out {out}", code=2)
    assert "`settings.p` is 0.5. Received: settings.p=0.25" in output


def test_damaged_model_is_named(trained, tmp_path):
    whole = (trained[0] / "best.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    output = call(f"evaluate {tmp_path / 'half.keras'} --task copy", code=2)
    assert re.search(r"^Error: .*half\.keras: ", output, re.MULTILINE)


def test_debug_shows_the_traceback(tmp_path):
    result = CliRunner().invoke(main, ["--debug", "evaluate", str(tmp_path / "none.keras")])
    assert isinstance(result.exception, FileNotFoundError)


def test_interruption_is_said_plainly(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    output = call(f"train {SMALL} --out {tmp_path / 'out'}", code=130)
    assert output.strip() == "Interrupted."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("False", False),
        ("none", None),
        ("h", "h"),
        ("/data/a=b", "/data/a=b"),
        ("'3'", "3"),
        ("[1, 2]", [1, 2]),
    ],
)
def test_values(text, value):
    found = _common.pairs("--set", [f"a-b={text}"])
    assert found == {"a_b": value}
    assert type(found["a_b"]) is type(value)


def test_command_can_be_repeated(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/rnnzoo", "train", "copy", "--set", "a=[1, 2]"])
    assert _common.command() == "rnnzoo train copy --set 'a=[1, 2]'"


@pytest.mark.slow
def test_killed_process_resumes_exactly(tmp_path):
    """Another process, killed without warning in the middle of its third epoch or later."""
    longer = SMALL.replace("train_size=40", "train_size=4000")
    line = f"train {longer} --epochs 6 --layer-set dropout=0.2".split()

    def start(out):
        return subprocess.Popen(
            [sys.executable, "-m", "rnnzoo", *line, "--out", str(out)],
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            stdout=subprocess.DEVNULL,
        )

    assert start(tmp_path / "whole").wait(timeout=300) == 0
    killed = start(tmp_path / "killed")
    while not _epochs(tmp_path / "killed") >= 2:
        assert killed.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=60)
    assert 2 <= _epochs(tmp_path / "killed") < 6
    assert start(tmp_path / "killed").wait(timeout=300) == 0
    whole, resumed = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "killed")
    )
    assert resumed["parts"] == 2
    assert resumed["curve"] == whole["curve"]
    assert resumed["test"] == whole["test"]
    arrays = [checkpoints.load_arrays(tmp_path / n / "state.npz")[0] for n in ("whole", "killed")]
    for key, array in arrays[0].items():
        assert (array == arrays[1][key]).all(), key


def _epochs(out):
    try:
        return json.loads((out / "metrics.json").read_text())["epochs"]
    except FileNotFoundError:
        return 0
