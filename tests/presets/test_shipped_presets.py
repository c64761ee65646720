"""The presets in the package: they load both ways, and score what their cards state."""

import json
import math
import os

import keras
import numpy as np
import pytest

import rnnzoo
from rnnzoo import presets

NAMES = [preset.name for preset in rnnzoo.list_presets()]
NEEDS_FILES = {"smnist", "pmnist"}


def needs_data(name):
    if presets.metrics(name)["task"]["name"] in NEEDS_FILES and not os.environ.get(
        "RNNZOO_DATA_DIR"
    ):
        pytest.skip(f"{name} is scored on real data: set RNNZOO_DATA_DIR to the original files")


def test_there_is_one_on_copying_and_one_on_mnist():
    trained_on = {presets.metrics(name)["task"]["name"] for name in NAMES}
    assert {"copy", "smnist"} <= trained_on


@pytest.mark.parametrize("name", NAMES)
def test_loads_by_name_and_by_keras(name):
    ours = rnnzoo.load(name)
    theirs = keras.models.load_model(presets.path(name) / "model.keras", compile=False)
    shape = [2, 20, ours.inputs[0].shape[-1]]
    x = np.random.default_rng(0).random(shape).astype("float32")
    np.testing.assert_array_equal(ours(x), theirs(x))
    assert not ours.compiled


@pytest.mark.parametrize("name", NAMES)
def test_a_subset_scores_what_the_card_states(name):
    """Within four standard errors of the subset, for a score that is a mean of hits."""
    needs_data(name)
    limit = 300
    stated = presets.metrics(name)["score"]
    measured = presets.evaluate(name, limit=limit)["results"][stated["metric"]]
    spread = math.sqrt(max(stated["value"] * (1 - stated["value"]), 1 / limit) / limit)
    assert abs(measured - stated["value"]) < 4 * spread


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_whole_test_set_scores_what_the_card_states(name):
    needs_data(name)
    found = presets.evaluate(name)
    assert abs(found["results"][found["metric"]] - found["stated"]) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_card_and_record_agree(name):
    folder = presets.path(name)
    record = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    text = (folder / "card.md").read_text(encoding="utf-8")
    assert f"{record['score']['value']:.6g}" in text
    assert record["command"] in text
    assert record["command"].startswith("rnnzoo train ")
    assert record["parameters"] == rnnzoo.load(name).count_params()
