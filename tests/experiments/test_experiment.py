"""The framework of the experiments: cells done once, records, figures, and the table of IDs."""

import functools
import importlib
import io
import json
import os
import pathlib
import types

import pytest
import rich.console

from rnnzoo import _machine, experiments, training
from rnnzoo.experiments import _experiment
from rnnzoo.experiments._experiment import Cell, best, grid
from rnnzoo.training._run_folder import RunFolder


def quiet():
    return rich.console.Console(file=io.StringIO(), width=100)


def make(calls, stop=None, factor=2):
    """An experiment that doubles numbers and notes which it worked on."""

    def work(number, folder, console):
        if number == stop:
            raise KeyboardInterrupt
        calls.append(number)
        (folder / "seen").write_text("yes")
        return {"double": factor * number}

    def cells(settings):
        return [
            Cell(
                f"{'odd' if n % 2 else 'even'}/{n}",
                {"number": n, "factor": factor, "pair": (n, n)},
                lambda folder, console, n=n: work(n, folder, console),
            )
            for n in range(settings["count"])
        ]

    def draw(settings, summary):
        figure = _experiment.new_figure(2, 2)
        figure.subplots().plot([summary["sum"]])
        return figure

    return types.SimpleNamespace(
        SCALES={"smoke": {"count": 4, "seeds": [0]}},
        PUBLISHED=[{"value": 12, "source": "arithmetic", "confidence": "derived"}],
        NOTES=["Nothing is reduced."],
        cells=cells,
        summarize=lambda settings, results: {"sum": sum(r["double"] for r in results.values())},
        draw=draw,
    )


def run(module, out, only=None):
    return _experiment.run("double/trouble", module, "smoke", out, only, quiet())


def test_record_and_figure(tmp_path):
    record = run(make([]), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == record
    assert record["summary"] == {"sum": 12}
    assert record["cells"]["odd/3"]["result"] == {"double": 6}
    assert record["cells"]["odd/3"]["settings"]["pair"] == [3, 3]
    assert record["command"] == "rnnzoo reproduce double/trouble --scale smoke"
    assert record["settings"] == {"count": 4, "seeds": [0]}
    assert record["published"][0]["source"] == "arithmetic"
    assert record["missing"] == []
    [made_with] = record["made_with"]
    assert made_with["versions"]["keras"]
    assert made_with["hardware"]["cores"] >= 1
    assert str(tmp_path) not in json.dumps(record)
    assert (tmp_path / "out" / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "out" / "table.md").exists()


def test_interruption_costs_the_cell_it_falls_in(tmp_path):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        run(make(calls, stop=2), tmp_path)
    assert calls == [0, 1]
    assert run(make(calls), tmp_path)["summary"] == {"sum": 12}
    assert calls == [0, 1, 2, 3]
    run(make(calls), tmp_path)
    assert calls == [0, 1, 2, 3]


def test_only_some_cells(tmp_path):
    calls = []
    record = run(make(calls), tmp_path, only="odd")
    assert calls == [1, 3]
    assert record["missing"] == ["even/0", "even/2"]
    assert record["summary"] == {"sum": 8}
    record = run(make(calls), tmp_path, only="even/2")
    assert calls == [1, 3, 2]
    assert record["summary"] == {"sum": 12}
    assert record["missing"] == ["even/0"]
    for wrong in ("od", "odd/", "nothing", ""):
        with pytest.raises(ValueError, match=rf"`only` must be .*even, odd.*only='{wrong}'"):
            run(make(calls), tmp_path, only=wrong)


@pytest.mark.skipif(len(_machine.available()) < 2, reason="needs two cores")
def test_jobs_share_the_cores_and_go_on_where_one_stopped(tmp_path, monkeypatch):
    def run(scale="smoke", **options):
        console = quiet()
        options = {"out_dir": tmp_path, "console": console, "jobs": 2, **options}
        record = _experiment.run("where", where_cells_run, scale, **options)
        return record, console.file.getvalue()

    monkeypatch.syspath_prepend(pathlib.Path(__file__).parent)  # the processes get it too
    where_cells_run = importlib.import_module("where_cells_run")
    with pytest.raises(ArithmeticError, match="it does not add up"):
        run("broken")
    record, text = run(only="cell1")
    assert "[1/1] cell1: " in text
    assert record["missing"] == ["cell0", "cell2", "cell3"]
    record, text = run()
    assert "4 cells, 1 done before." in text
    assert "[3/3] " in text
    assert "nobody hears this" not in text
    assert record["summary"]["finished"] == ["cell0", "cell1", "cell2", "cell3"]
    results = [record["cells"][f"cell{n}"]["result"] for n in (0, 2, 3)]
    shares = {r["process"]: r["cores"] for r in results}
    assert os.getpid() not in shares
    one, two = shares.values()
    assert not set(one) & set(two)
    assert sorted(one + two) == _machine.available()
    assert all(int(r["threads"]) == len(r["cores"]) for r in results)


def test_jobs_out_of_range(tmp_path):
    cores = len(_machine.available())
    for wrong, words in ((0, "at least 1"), (cores + 1, rf"at most the {cores} cores"), (1.5, "")):
        with pytest.raises((ValueError, TypeError), match=rf"`jobs` .*{words}.*{wrong}"):
            experiments.reproduce("rivals", out_dir=tmp_path, jobs=wrong)


def test_other_settings_are_refused(tmp_path):
    run(make([]), tmp_path)
    with pytest.raises(ValueError, match=r"even.0 `factor` is 2\. Received: factor=3"):
        run(make([], factor=3), tmp_path)


def test_a_cell_may_state_its_own_time(tmp_path):
    module = make([])
    module.cells = lambda settings: [
        Cell("a", {}, lambda folder, console: {"double": 0, "wall_time_s": 7.25})
    ]
    assert run(module, tmp_path)["wall_time_s"] == 7.25


def test_diverged_training_is_a_result(tmp_path, monkeypatch):

    def diverges(**options):
        raise FloatingPointError("loss=nan at step 3; the best is kept in /somewhere: not finite")

    monkeypatch.setattr(training, "train", diverges)
    assert _experiment.train(tmp_path, quiet()) == {"diverged": "loss=nan at step 3"}


def one_training(epochs=3):
    sizes = {"delay": 2, "train_size": 20, "validation_size": 10, "test_size": 10}
    options = {"task": "copy", "layer": "simple_rnn", "units": 3, "epochs": epochs, "seed": 1}
    options |= {"learning_rate": 0.01, "task_options": {**sizes, "batch_size": 10}}
    module = make([])
    module.cells = lambda settings: [
        Cell("a", options, functools.partial(_experiment.train, **options))
    ]
    module.summarize = lambda settings, results: {"sum": results["a"]["test"]["loss"]}
    return module


def test_a_training_is_itself_resumed(tmp_path, monkeypatch):
    whole = run(one_training(), tmp_path / "whole")["cells"]["a"]["result"]
    finish = RunFolder.finish_epoch

    def interrupted(self, epoch, logs, seconds):
        if epoch == 1:
            raise KeyboardInterrupt
        finish(self, epoch, logs, seconds)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "finish_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(one_training(), tmp_path / "parts")
    assert not (tmp_path / "parts" / "cells" / "a" / "result.json").exists()
    record = run(one_training(), tmp_path / "parts")
    found = record["cells"]["a"]["result"]
    assert (found["parts"], whole["parts"]) == (2, 1)
    assert len(found["curve"]["loss"]) == 3
    for key in ("curve", "test", "best", "parameters"):
        assert found[key] == whole[key]
    assert record["cells"]["a"]["seconds"] == found["wall_time_s"]


def test_grid_and_best():
    assert grid(a=[1, 2], b="xy") == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    scores = {"a": 3.0, "b": None, "c": 4.0}
    assert best(scores, lambda value: value) == "a"
    assert best(scores, lambda value: value, "max") == "c"
    assert best({"b": None}, lambda value: value) is None


@pytest.mark.parametrize("id", experiments.names())
def test_every_experiment_is_whole(id):
    description = experiments.describe(id)
    assert description.summary
    assert list(description.cost) == list(experiments.SCALES)
    module = importlib.import_module(description.module)
    assert list(module.SCALES) == list(experiments.SCALES)
    for published in module.PUBLISHED:
        assert {"value", "source", "confidence"} <= set(published)
    for settings in module.SCALES.values():
        assert json.loads(json.dumps(settings)) == settings
        assert settings["seeds"]
        cells = module.cells(settings)
        names = [cell.name for cell in cells]
        assert len(set(names)) == len(names) > 0
        for one, two in zip(sorted(names), sorted(names)[1:]):
            assert not two.startswith(f"{one}/"), "a cell's folder holds another cell"
        for cell in cells:
            json.dumps(cell.settings)
    figure = module.draw(module.SCALES["smoke"], module.summarize(module.SCALES["smoke"], {}))
    figure.savefig(io.BytesIO())


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match=r"`id` must be one of 'rivals'.*id='rival'"):
        experiments.reproduce("rival")
    with pytest.raises(ValueError, match=r"`scale` must be one of 'smoke', .*scale='huge'"):
        experiments.reproduce("rivals", "huge", tmp_path)
    assert list(tmp_path.iterdir()) == []
