"""Recipes: each runs, says what it is, and what it cost and reached; and becomes a preset."""

import io
import json
import re

import keras
import pytest
import rich.console
from click.testing import CliRunner

from rnnzoo import presets, tasks, training
from rnnzoo.cli import main
from rnnzoo.presets._folder import write_preset

QUIET = rich.console.Console(file=io.StringIO())
ORIGINALS = {
    "smnist": "mnist",
    "pmnist": "mnist",
    "atis": "atis",
    "jsb": "poly_music",
    "nottingham": "poly_music",
    "ptb_word": "ptb",
    "wikitext2": "wikitext-2",
    "tiny_shakespeare": "tiny_shakespeare",
}
NAMES = [recipe.name for recipe in presets.recipes()]
# Of float32 weights; the zoo keeps each under 15 MB, the models of words apart.
MOST_WEIGHTS = {"lstm_ptb_word": 7_500_000, "lstm_wikitext2": 7_500_000}


def call(line, code=0):
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == code, result.output
    return result.output


# Their graphs are those of another recipe.
ALIKE = {"lru_pmnist_bit_reversal", "hdetach_lstm_pmnist", "hdetach_lstm_copy_t300"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in ALIKE else n for n in NAMES]
)
def test_smoke(name, tmp_path, real_data, monkeypatch):
    monkeypatch.setattr("rnnzoo.training._train.plot_curves", lambda *_: None)
    recipe = presets.recipe(name)
    needed = ORIGINALS.get(recipe.task["name"])
    if needed:
        real_data(needed)
    options = recipe.training(smoke=True)
    record = training.train(out_dir=tmp_path, console=QUIET, **options)
    assert (record["recipe"], record["epochs"]) == (name, 1)
    assert record["settings"]["limit"] == recipe.smoke["limit"]
    assert record["settings"]["layers"] == recipe.layers
    assert record["parameters"] < MOST_WEIGHTS.get(name, 3_750_000)
    rate = record["optimizer"]["config"]["learning_rate"]
    assert rate == pytest.approx(recipe.optimizer["learning_rate"])
    metric = record["monitor"].removeprefix("val_")
    assert metric in record["test"]
    # What is published is of the metric that chooses the best epoch.
    if recipe.reference:
        better = max if tasks.get(recipe.task["name"]).monitor_mode == "max" else min
        guess = record["baseline"].get(metric)
        assert guess is None or better(guess, recipe.reference["value"]) != guess


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_short_and_says_what_it_is(name):
    recipe = presets.recipe(name)
    text = (presets._recipe.FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert text.startswith("# ")
    assert "\n" not in recipe.description
    assert len(recipe.description) <= 100
    assert recipe.training()["epochs"] == recipe.epochs > recipe.training(smoke=True)["epochs"] == 1
    if recipe.reference:
        assert set(recipe.reference) <= {"value", "source", "recalled"}
        recalled = "recalled" in recipe.published["source"]
        assert recalled == recipe.reference.get("recalled", False)


def test_unknown_recipes():
    with pytest.raises(ValueError, match=r"one of the recipes: bilstm_atis, .*name='lru_mnist'"):
        presets.recipe("lru_mnist")
    with pytest.raises(ValueError, match=r"one of the recipes.*name='\.\./recipes/lru_digits'"):
        presets.recipe("../recipes/lru_digits")
    with pytest.raises(TypeError, match=r"`name` must be a string\. Received: name=3"):
        presets.recipe(3)


def preset(folder, name, details):
    task = tasks.get("digits")
    return write_preset(
        folder / name,
        task.build_model(keras.layers.SimpleRNN(2)),
        task.get_config(),
        metric="accuracy",
        score=0.9375,
        examples=250,
        command="rnnzoo train",
        seed=0,
        wall_time_s=1234.5,
        description="d",
        details=details,
    )


def test_cost_and_score_are_those_of_the_preset_that_the_recipe_made(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnzoo.presets._store.FOLDER", tmp_path)
    recipe = presets.recipe("lru_digits")
    assert recipe.measured is None
    # As a table of recipes shows it: what nobody has confirmed is not told as if it were.
    assert presets.recipe("bilstm_atis").result.endswith("; reference 0.951 (recalled)")
    assert "not trained yet; reference 0.94" in str(recipe)
    preset(tmp_path, "lru_digits", {"recipe": "lru_digits"})
    assert recipe.measured == {"seconds": 1234.5, "metric": "accuracy", "score": 0.9375}
    assert "accuracy 0.9375 after 1,234 s; reference 0.94" in str(recipe)
    assert "rnnzoo train --recipe lru_digits --out runs/lru_digits" in str(recipe)
    listed = " ".join(call("recipes").split())
    assert "lru_pmnist" in listed
    assert re.search(r"accuracy.*0\.9375", listed)
    preset(tmp_path, "lru_smnist", {"epochs": 3})
    assert presets.recipe("lru_smnist").measured is None, "another training's score"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("recipe") / "run"
    return out, call(f"train --recipe stable_rnn_digits --smoke --out {out}")


def test_on_the_command_line(run):
    out, output = run
    assert "Best epoch 1 of 1, on the test set" in output
    record = json.loads((out / "metrics.json").read_text())
    assert record["recipe"] == "stable_rnn_digits"
    assert record["reference"] == presets.recipe("stable_rnn_digits").reference["value"]
    assert record["test"]["accuracy"] <= 1


def test_a_run_becomes_a_preset_by_its_recipe(run, tmp_path):
    out, _ = run
    output = call(f"make-preset {out} {tmp_path / 'made'}", code=2)
    assert re.search(r"`run` must have seen all data.*limit=20", output)
    whole = tmp_path / "run"
    whole.mkdir()
    (whole / "best.keras").write_bytes((out / "best.keras").read_bytes())
    record = json.loads((out / "metrics.json").read_text())
    del record["settings"]["limit"]
    (whole / "metrics.json").write_text(json.dumps(record))
    call(f"make-preset {whole} {tmp_path / 'made'}")
    made = json.loads((tmp_path / "made" / "metrics.json").read_text())
    recipe = presets.recipe("stable_rnn_digits")
    assert made["description"] == recipe.description
    assert made["published"] == recipe.published
    assert made["details"]["recipe"] == "stable_rnn_digits"
    call(f"make-preset {whole} {tmp_path / 'other'} --description mine --published 1 --source x")
    other = json.loads((tmp_path / "other" / "metrics.json").read_text())
    assert (other["description"], other["published"]["source"]) == ("mine", "x")
    del record["recipe"]
    (whole / "metrics.json").write_text(json.dumps(record))
    output = call(f"make-preset {whole} {tmp_path / 'third'}", code=2)
    assert "`description` must be given for a run without a recipe" in output


REFUSED = [
    ("--recipe lru_digits --epochs 3", r"`--recipe` says all .*Received: epochs=3"),
    ("digits --recipe lru_digits", r"`--recipe` says all .*Received: task='digits'"),
    ("--recipe lru_digits --set rows=true", r"`--recipe` says all .*task_set="),
    ("--recipe lru_digit", r"`name` must be one of the recipes.*name='lru_digit'"),
    ("digits --smoke", r"`--smoke` must come with `--recipe`"),
    ("", r"`TASK` must be given, or a `--recipe`"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED)
def test_refusals(line, words, tmp_path):
    output = call(f"train {line} --out {tmp_path / 'out'}", code=2)
    assert re.search(words, output.strip().splitlines()[-1])
    assert not (tmp_path / "out").exists()
