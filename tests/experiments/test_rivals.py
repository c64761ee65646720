"""The rivals: equal sizes, the best of one grid, and the table."""

import io

import pytest
import rich.console

from rnnzoo import experiments, tasks
from rnnzoo.experiments import rivals


def reproduce(out, only=None):
    console = rich.console.Console(file=io.StringIO(), width=100)
    return experiments.reproduce("rivals", "smoke", out, only, console), console.file.getvalue()


@pytest.mark.parametrize(
    ("layer", "options", "depth"),
    [
        ("lstm", {}, 1),
        ("gru", {}, 2),
        ("tcn", {"levels": 2, "kernel_size": 3}, 1),
        ("gated_conv", {"levels": 2, "kernel_size": 3, "bottleneck": 2}, 1),
    ],
)
def test_no_width_comes_nearer(layer, options, depth):
    task = tasks.get("copy", delay=2)
    for target in (300, 3_000, 10_000):
        units = rivals.matched_units(task, layer, options, depth, target)
        off = {
            width: abs(rivals._count(task, layer, options, depth, width) - target)
            for width in range(max(1, units - 2), units + 3)
        }
        assert min(off, key=off.get) == units


def test_width_at_which_a_projection_falls_away():
    """TCN 10 wide on ten inputs has no residual convolution: 110 parameters less."""
    task = tasks.get("copy", delay=2, one_hot=True)
    options = {"levels": 2, "kernel_size": 3}
    target = rivals._count(task, "tcn", options, 1, 10)
    assert rivals.matched_units(task, "tcn", options, 1, target + 30) == 10


def test_one_layer_at_smoke_scale(tmp_path):
    record, text = reproduce(tmp_path, only="copy/tcn")
    result = record["cells"]["copy/tcn/lr0.003/seed0"]["result"]
    found = record["summary"]["copy"]["layers"]["tcn"]
    assert found["score"] == result["test"]["loss"]
    assert found["learning_rate"] == 0.003
    assert abs(found["parameters"] / 2_000 - 1 - found["deviation"]) < 1e-4
    assert abs(found["deviation"]) < 0.2
    assert found["receptive_field"] == 1 + 2 * 2 * 7
    assert found["published"] == 3.5e-5
    assert len(record["missing"]) == 7
    assert "[1/1] copy/tcn/lr0.003/seed0" in text
    table = (tmp_path / "table.md").read_text()
    recall = result["test"]["recall_accuracy"]
    assert f"| {found['score']:.4g} | 3.5e-05 * | " in table
    assert f"recall_accuracy {recall:.4g}" in table
    assert "* copy is another setting" in table
    again, text = reproduce(tmp_path, only="copy/tcn")
    assert again == record
    assert "1 done before" in text


SETTINGS = {
    "seeds": [0, 1],
    "learning_rates": [0.1, 0.2, 0.3],
    "tasks": {"adding": {"parameters": 100, "differs": ""}},
}


def result(validation, test, diverged=False):
    base = {"units": 3, "parameters": 110, "receptive_field": None, "batches": 5}
    base["baseline"] = {"loss": 1 / 6}
    if diverged:
        return {**base, "diverged": "loss=nan"}
    return {
        **base,
        "monitor": "val_loss",
        "best": {"epoch": 1, "val_loss": validation},
        "test": {"loss": test},
        "curve": {"val_loss": [validation]},
    }


def test_the_rate_is_chosen_on_validation_and_over_all_seeds():
    runs = {
        "lr0.1/seed0": result(0.5, 0.1),
        "lr0.1/seed1": result(0.5, 0.1),
        "lr0.2/seed0": result(0.2, 0.6),  # worse on the test set, and still the choice
        "lr0.2/seed1": result(0.4, 0.8),
        "lr0.3/seed0": result(0.01, 0.01),
        "lr0.3/seed1": result(0, 0, diverged=True),
    }
    summary = rivals.summarize(SETTINGS, {f"adding/lstm/{n}": r for n, r in runs.items()})
    found = summary["adding"]["layers"]["lstm"]
    assert found["learning_rate"] == 0.2
    assert found["score"] == pytest.approx(0.7)
    assert found["scores"] == [0.6, 0.8]
    assert found["diverged"] == [0.3]
    assert found["validation"] == {"0.1": 0.5, "0.2": pytest.approx(0.3), "0.3": None}
    assert found["deviation"] == 0.1
    assert "| adding (loss) | lstm | 3 | 110 | +10.0% | 0.2 | 0.7 | 0.164 | – |\n" in rivals.table(
        SETTINGS, summary
    )


def test_of_rates_with_equal_accuracy_the_one_of_least_loss_is_chosen():
    def accurate(accuracy, losses):
        curve = {"val_loss": losses, "val_recall_accuracy": [accuracy] * 2}
        best = {"epoch": 2, "val_recall_accuracy": accuracy}
        return {**result(0, 0.5), "monitor": "val_recall_accuracy", "best": best, "curve": curve}

    runs = {
        "lr0.1/seed0": accurate(1.0, [0.0, 0.3]),
        "lr0.2/seed0": accurate(1.0, [0.9, 0.2]),
        "lr0.3/seed0": accurate(0.9, [0.0, 0.1]),
    }
    copy = {"parameters": 100, "differs": ""}
    settings = {**SETTINGS, "seeds": [0], "tasks": {"copy": copy}}
    summary = rivals.summarize(settings, {f"copy/tcn/{n}": r for n, r in runs.items()})
    found = summary["copy"]["layers"]["tcn"]
    assert found["learning_rate"] == 0.2
    assert "| 0.2 | 0.5 |" in rivals.table(settings, summary)


def test_layer_that_diverged_everywhere_and_one_that_is_not_finished():
    runs = {
        f"adding/gru/lr{rate:g}/seed{seed}": result(0, 0, diverged=True)
        for rate in SETTINGS["learning_rates"]
        for seed in (0, 1)
    }
    runs["adding/lstm/lr0.1/seed0"] = result(0.5, 0.5)
    summary = rivals.summarize(SETTINGS, runs)
    assert list(summary["adding"]["layers"]) == ["gru"]
    assert summary["adding"]["layers"]["gru"]["score"] is None
    assert "| adding (loss) | gru | 3 | 110 | +10.0% | – | diverged |" in rivals.table(
        SETTINGS, summary
    )
    rivals.draw(SETTINGS, summary).savefig(io.BytesIO())


def test_a_rate_at_an_end_of_the_grid_is_marked():
    runs = {
        f"adding/{layer}/lr{rate:g}/seed{seed}": result(abs(rate - chosen), 0.5)
        for layer, chosen in (("lstm", 0.1), ("gru", 0.2), ("tcn", 0.3))
        for rate in SETTINGS["learning_rates"]
        for seed in (0, 1)
    }
    table = rivals.table(SETTINGS, rivals.summarize(SETTINGS, runs))
    for marked in (
        "| 0.1 † | 0.5 | 0.164 |",
        "| 0.2 | 0.5 | 5.3e-05 |",
        "| 0.3 † | 0.5 | 5.8e-05 |",
    ):
        assert marked in table
    assert "† The end of the grid" in table


def test_published_values():
    by_name = {(p["task"], p["layer"]): p["value"] for p in rivals.PUBLISHED}
    assert len(by_name) == 6 * 4
    assert by_name["jsb", "lstm"] == 8.45
    assert by_name["smnist", "tcn"] == 0.99


@pytest.mark.slow
def test_whole_smoke(tmp_path):
    record, _ = reproduce(tmp_path)
    assert record["missing"] == []
    assert list(record["summary"]["copy"]["layers"]) == list(rivals.LAYERS)


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["desk", "paper"])
def test_sizes_match_and_the_convolutions_reach(scale, real_data):
    real_data("poly_music", "ptb", "mnist")
    for name, spec in rivals.SCALES[scale]["tasks"].items():
        task = tasks.get(name, **spec["task"])
        for layer in rivals.LAYERS:
            given = layer, spec["layers"].get(layer, {}), spec["depth"]
            units = rivals.matched_units(task, *given, spec["parameters"])
            count = rivals._count(task, *given, units)
            assert count == pytest.approx(spec["parameters"], rel=0.15), (name, layer)
            one = rivals._stack(layer, units, given[1], 1)[0]
            if name in ("copy", "adding", "smnist") and hasattr(one, "receptive_field"):
                assert one.receptive_field >= task.input_shape[0], (name, layer)
