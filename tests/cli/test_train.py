"""How the options of `rnnzoo train` become the arguments of `training.train`."""

import re

import pytest
from click.testing import CliRunner

from rnnzoo import training
from rnnzoo.cli import _training, main


@pytest.fixture
def told(monkeypatch):
    """What the command calls `training.train` with."""
    told = {}

    def train(**options):
        told.update(options)
        return {}

    monkeypatch.setattr(training, "train", train)
    return told


def call(line, code=0):
    result = CliRunner().invoke(main, line)
    assert result.exit_code == code, result.output
    return result.output


def test_stack(told, tmp_path):
    stack = ["--stack", "lru units=8 r-min=0.5", "--stack", "lstm units=4"]
    call(["train", "copy", *stack, "--bidirectional", "--out", str(tmp_path)])
    assert told["layers"] == [
        {"layer": "lru", "units": 8, "r_min": 0.5},
        {"layer": "lstm", "units": 4},
    ]
    assert told["bidirectional"] is True
    assert told["layer"] is None
    assert told["depth"] == 1


def test_optimizer(told, tmp_path):
    options = ["--optimizer", "grouped_adamw", "--optimizer-set", "weight_decay=0.1"]
    options += ["--optimizer-set", "groups=[{'match': 'nu_log', 'rate': 0.5}]"]
    options += ["--clip", "0.25", "--average", "0.999", "--patience", "3", "--limit", "7"]
    call(["train", "copy", *options, "--detach-epochs", "2", "--out", str(tmp_path)])
    assert told["optimizer"] == {
        "name": "grouped_adamw",
        "weight_decay": 0.1,
        "groups": [{"match": "nu_log", "rate": 0.5}],
    }
    names = ("clip", "average", "patience", "limit", "detach_epochs")
    assert [told[name] for name in names] == [0.25, 0.999, 3, 7, 2]


def test_what_is_not_given_is_the_default(told, tmp_path):
    call(["train", "copy", "--out", str(tmp_path)])
    names = ("layers", "optimizer", "average", "patience", "limit", "detach_epochs", "task_options")
    assert [told[name] for name in names] == [None] * 6 + [{}]
    assert told["clip"] is True
    call(["train", "copy", "--clip", "false", "--out", str(tmp_path)])
    assert told["clip"] is False


@pytest.mark.parametrize(
    ("pooling", "head", "options"),
    [
        (None, None, {}),
        ("mean", None, {"pooling": "mean"}),
        ("none", "linear", {"pooling": None}),
        ("last", "mlp", {"pooling": "last", "mlp": 256}),
        (None, "mlp:512", {"mlp": 512}),
    ],
)
def test_pooling_and_head(pooling, head, options):
    assert _training.model_options({}, pooling, head) == options
    given = {"mlp_dropout": 0.5}
    assert _training.model_options(dict(given), pooling, head) == {**given, **options}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--head deep", r"`--head` must be linear, mlp or mlp:UNITS\. Received: --head deep"),
        ("--head linear:3", r"`--head` must be .*linear:3"),
        ("--head mlp:3 --model-set mlp=4", r"`mlp` must be given once"),
        ("--pooling mean --model-set pooling=last", r"`pooling` must be given once"),
        ("--optimizer-set momentum=0.9", r"`--optimizer-set` must come with `--optimizer`"),
        ("--stack lru:3", r"`layers` must be dicts with `layer`, `units`"),
        ("--pooling mean", r"`pooling` must be an option of the model of the task copy"),
        ("--clip norm", r"`clip` must be a number.*clip='norm'"),
    ],
)
def test_refusals(line, words, tmp_path):
    output = call(f"train copy {line} --out {tmp_path / 'out'}".split(), code=2)
    assert re.search(words, output.strip().splitlines()[-1])
    assert not (tmp_path / "out").exists()
