"""The experiments on h-detach: what their cells ask for, what is chosen, each at its smallest."""

import importlib
import io

import keras
import numpy as np
import pytest
import rich.console

from rnnzoo import experiments, tasks, training, zoo
from rnnzoo.experiments.hdetach import _grid
from rnnzoo.experiments.hdetach import robustness as hdetach_robustness
from rnnzoo.experiments.hdetach import transfer as hdetach_transfer
from rnnzoo.tasks import _mnist
from rnnzoo.tasks.smnist import SequentialMNIST

IDS = [id for id in experiments.names() if id.startswith("hdetach/")]
QUIET = rich.console.Console(file=io.StringIO(), width=100)
SETTINGS = {
    "groups": {"T5": _grid.smoke_copy(), "T9": _grid.smoke_copy(depth=2)},
    "variants": _grid.variants("lstm", "h0.25"),
    "learning_rates": [0.1, 0.2],
    "seeds": [3, 4],
}


def module(id):
    return importlib.import_module(experiments.describe(id).module)


def result(curve, test, diverged=False):
    """What a training leaves whose validation accuracy took this course."""
    if diverged:
        return {"diverged": "loss=nan", "batches": 5}
    return {
        "monitor": "val_recall_accuracy",
        "curve": {"val_recall_accuracy": curve},
        "test": {"recall_accuracy": test},
        "baseline": {"recall_accuracy": 0.125},
        "parameters": 77,
        "batches": 5,
    }


def results(of):
    """Results of `of(variant, rate, seed)` for every cell of the first group."""
    found = {}
    for variant in SETTINGS["variants"]:
        for rate in SETTINGS["learning_rates"]:
            for seed in SETTINGS["seeds"]:
                found[_grid.name("T5", variant, rate, seed)] = of(variant, rate, seed)
    return found


def steady(variant, rate, seed):
    if variant == "lstm" and rate == 0.2:
        return result(None, None, diverged=True) if seed == 4 else result([0.9, 1.0], 1.0)
    if variant == "lstm":
        return result([0.5, 0.8, 0.6, 0.7], 0.75 if seed == 3 else 0.25)
    return result([0.5, 0.6, 0.7, 0.8], 0.9) if rate == 0.1 else result([0.1, 0.995], 0.3)


@pytest.mark.parametrize("id", IDS)
def test_every_variant_has_the_same_budget(id):
    """Within a group, cells differ in the rate, the seed, and p and detach: in nothing else."""
    for scale in experiments.SCALES:
        settings = module(id).SCALES[scale]
        assert settings["groups"], scale
        by_group = {}
        cells = module(id).cells(settings)
        for cell in cells:
            options = {k: v for k, v in cell.settings["layer_options"].items() if k != "p"}
            options.pop("detach")
            known = {**cell.settings, "layer_options": options}
            asked = known.pop("learning_rate"), known.pop("seed")
            group, variant, *_ = cell.name.split("/")
            assert by_group.setdefault(group, known) == known
            assert settings["variants"][variant].items() <= cell.settings["layer_options"].items()
            assert cell.name.endswith(f"lr{asked[0]:g}/seed{asked[1]}")
        axes = ("groups", "variants", "learning_rates", "seeds")
        assert len({c.name for c in cells}) == np.prod([len(settings[a]) for a in axes])
        assert scale == "smoke" or len(settings["seeds"]) >= 2


@pytest.mark.parametrize("id", IDS)
def test_published_values_say_where_they_are_from(id):
    for entry in module(id).PUBLISHED:
        assert {"what", "value", "source", "confidence"} == set(entry)
        assert "seen" in entry["confidence"]


def test_the_rate_is_the_one_of_the_best_validation_score_of_all_seeds():
    summary = _grid.summarize(SETTINGS, results(steady))
    assert list(summary) == ["T5"]  # nothing is finished of the other
    lstm, h = summary["T5"]["lstm"], summary["T5"]["h0.25"]
    # The rate at which one seed diverged is no choice, however good the other seed is.
    assert lstm["learning_rate"] == 0.1
    assert lstm["scores"] == [0.75, 0.25]
    assert lstm["score"] == 0.5
    assert lstm["rates"]["0.2"]["diverged"] == 1
    assert lstm["rates"]["0.2"]["validation"] is None
    assert lstm["epochs_to"] == {"0.8": [2, 2], "0.99": [None, None]}
    assert lstm["largest_drop"] == pytest.approx([0.2, 0.2])
    assert h["learning_rate"] == 0.2  # although 0.1 tests better
    assert h["epochs_to"]["0.99"] == [2, 2]
    assert h["largest_drop"] == [0.0, 0.0]
    assert h["rates"]["0.1"]["epochs_to"]["0.8"] == [4, 4]


def test_variant_with_a_cell_missing_is_not_summarized_and_one_that_diverged_is_drawn_without():
    found = results(steady)
    del found[_grid.name("T5", "h0.25", 0.2, 4)]
    assert list(_grid.summarize(SETTINGS, found)["T5"]) == ["lstm"]
    summary = _grid.summarize(SETTINGS, results(lambda *_: result(None, None, diverged=True)))
    assert summary["T5"]["lstm"]["learning_rate"] is None
    assert "| T5 | LSTM | all diverged |" in _grid.table(SETTINGS, summary, [])
    for draw in (_grid.draw, hdetach_robustness.draw):
        assert draw(SETTINGS, summary).axes
        assert draw(SETTINGS, {}).axes


def test_table_and_figure_show_every_seed():
    summary = _grid.summarize(SETTINGS, results(steady))
    published = [{"what": "all", "value": 0.5, "source": "them", "confidence": "seen"}]
    text = _grid.table(SETTINGS, summary, published)
    assert "| T5 | LSTM | 0.1 | 50.0% (75.0%, 25.0%) | 12.5% | 2, 2 | –, – | 20.0%, 20.0% |" in text
    assert "| T5 | h-detach, p = 0.25 | 0.2 | 30.0% (30.0%, 30.0%)" in text
    assert "- all: 0.5 (them; seen)" in text
    (panel,) = _grid.draw(SETTINGS, summary).axes
    drawn = [list(line.get_ydata()) for line in panel.lines]
    assert drawn.count([0.5, 0.8, 0.6, 0.7]) == 3  # two seeds and their mean
    assert panel.get_xlabel() == "epoch (5 updates)"
    best, drop = hdetach_robustness.draw(SETTINGS, summary).axes
    np.testing.assert_allclose(best.lines[-1].get_ydata(), [0.8, 0.995])
    # The rate at which one seed diverged shows the other.
    np.testing.assert_allclose(drop.lines[2].get_ydata(), [0.2, 0.0])


def test_transfer_is_that_of_the_chosen_rate():
    def of(variant, rate, seed):
        scores = {"6": rate, "9": seed / 10}
        return {**result([rate], rate), "transfer": scores}

    groups = {"T5": _grid.smoke_copy(delays=[6, 9])}
    settings = {**SETTINGS, "groups": groups}
    summary = hdetach_transfer.summarize(settings, results(of))
    found = summary["T5"]["lstm"]["transfer"]
    assert found["mean"] == {"6": 0.2, "9": pytest.approx(0.35)}
    assert found["each"]["9"] == [0.3, 0.4]
    assert "| LSTM | 20.0% | 35.0% |" in hdetach_transfer.table(settings, summary)
    curves, panel = hdetach_transfer.draw(settings, summary).axes
    assert [list(line.get_ydata()) for line in panel.lines].count([0.2, 0.3]) == 2
    np.testing.assert_allclose(panel.lines[0].get_xdata(), [6 / 3, 9 / 3])
    assert len(curves.lines) == 2 * 3 + 1


def test_published_weights_are_uniform_and_have_no_forget_bias():
    layer = {**_grid.published_weights(16), "p": 0.5}

    weights = zoo.build("hdetach_lstm", 16, **layer)
    weights.build((None, 5, 8))
    for values in weights.get_weights():
        assert 0.2 < abs(values).max() <= 0.25
        assert abs(values.mean()) < 0.06


def small(monkeypatch):
    """Digits that are noise, of the right kind and few."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    loaded = pixels, np.arange(12, dtype=np.uint8) % 10
    monkeypatch.setattr(_mnist, "load", lambda part, data_dir: loaded)
    for split, size in (("train", 8), ("validation", 4), ("test", 12)):
        monkeypatch.setattr(SequentialMNIST, f"{split}_size", size)


@pytest.mark.parametrize(
    "id", [pytest.param(id, marks=[] if id == "hdetach/noclip" else pytest.mark.slow) for id in IDS]
)
def test_at_smoke_scale(id, tmp_path, monkeypatch):
    small(monkeypatch)
    record = experiments.reproduce(id, "smoke", tmp_path, console=QUIET)
    assert record["missing"] == []
    settings = record["settings"]
    for group, found in record["summary"].items():
        assert list(found) == list(settings["variants"])
        for variant, one in found.items():
            (result,) = [
                cell["result"]
                for name, cell in record["cells"].items()
                if name.startswith(f"{group}/{variant}/")
            ]
            assert one["scores"] == [result["test"][one["metric"]]]
            assert len(one["curve"][0]) == settings["groups"][group]["epochs"]
            assert one["batches"] == (1 if "mnist" in group else 2)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert "Published" in (tmp_path / "table.md").read_text()
    again = experiments.reproduce(id, "smoke", tmp_path, console=QUIET)
    assert again == record


def test_bidirectional_and_unclipped_trainings_are_what_they_say(tmp_path):
    options = _grid.smoke_copy(bidirectional=True, depth=2, clip=False)
    options |= {"layer": "hdetach_lstm", "layer_options": {"p": 0.5}, "epochs": 1, "seed": 1}
    record = training.train(out_dir=tmp_path, console=QUIET, **options)
    assert record["optimizer"]["config"]["global_clipnorm"] is None
    assert record["settings"]["bidirectional"] is True
    one, two = 4 * 4 * (10 + 4 + 1), 4 * 4 * (8 + 4 + 1)
    assert record["parameters"] == 2 * (one + two) + 9 * (8 + 1)
    model = keras.models.load_model(tmp_path / "best.keras")
    inner = [layer for layer in model.layers if isinstance(layer, keras.layers.Bidirectional)]
    assert [(b.forward_layer.p, b.backward_layer.p) for b in inner] == [(0.5, 0.5)] * 2
    with pytest.raises(ValueError, match=r"`out_dir` must be empty.*global_clipnorm"):
        training.train(out_dir=tmp_path, console=QUIET, **{**options, "clip": True})
    with pytest.raises(TypeError, match=r"`bidirectional` must be.*bidirectional=2"):
        training.train(out_dir=tmp_path, **{**options, "bidirectional": 2})


def test_lstm_is_keras_lstm():
    """The variant called LSTM: the same outputs and gradients as Keras's with these weights."""
    task = tasks.get("copy", delay=4, train_size=6, batch_size=6)
    x, y = next(iter(task.train))

    layer = zoo.build("hdetach_lstm", 5, **_grid.variants("lstm")["lstm"])
    models = [task.build_model(layer), task.build_model(keras.layers.LSTM(5))]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile(keras.optimizers.SGD(1.0), task.loss)
        model.train_on_batch(x, y)
    for ours, theirs in zip(*(model.get_weights() for model in models)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
