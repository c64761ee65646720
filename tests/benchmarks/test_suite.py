"""The benchmark suite: protocol, arithmetic, skipping by name, and that peers compute the same."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import click.testing
import keras
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import _figure, _memory, _report, _session, _statistics, _summary, _surroundings
from benchmarks._processes import PeerFailed, PeerMissing, Process
from benchmarks._session import Peer, Row, Session, Side
from benchmarks.peers import data, with_keras, with_rnnzoo

TOY = Side("toy", "toy:sleeper", {"seconds": 0.01})
SLOWER = Side("slower toy", "toy:sleeper", {"seconds": 0.1})
ABSENT = Side("absent library", "toy:needs_a_library_that_is_not_there")
BROKEN = Side("broken", "toy:broken")
EFFORT = _session.Effort(rounds=3, round_s=0.01, case_s=1.0)


@pytest.fixture(scope="module")
def process():
    with Process() as started:
        yield started


@pytest.fixture(scope="module")
def compared():
    """One comparison with a peer that is slower, one that is absent and one that breaks."""
    session = Session(quick=True)
    try:
        peers = [Peer(side, must=0.5, aim=0.05) for side in (SLOWER, ABSENT, BROKEN)]
        session.compare("toys", TOY, peers, per=2, effort=EFFORT)
        session.compare("toys without ours", ABSENT, [Peer(TOY)], effort=EFFORT)
    finally:
        session.end()
    return session


def test_a_worker_times_every_run_and_prints_do_not_reach_the_replies(process):
    assert process.make("benchmarks.peers.toy:sleeper", {"seconds": 0.01}) == {"made": True}
    seconds = process.run(3)
    assert len(seconds) == 3
    assert all(second >= 0.01 for second in seconds)


def test_a_worker_says_what_is_missing_and_what_failed_and_lives_on(process):
    with pytest.raises(PeerMissing, match=r"^a_library_that_is_not_there$"):
        process.make(ABSENT.function, {})
    process.make(BROKEN.function, {})
    with pytest.raises(PeerFailed, match=r"^ArithmeticError: it does not add up$"):
        process.run(1)
    process.make(TOY.function, TOY.kwargs)
    assert len(process.run(1)) == 1


def test_a_worker_that_dies_is_a_failure_with_its_last_words():
    with Process() as dying:
        dying.make("benchmarks.peers.toy:dies", {})
        with pytest.raises(PeerFailed, match=r"ended: exit status 3, goodbye$"):
            dying.run(1)


def test_a_worker_ends_with_its_stdin_and_when_asked_to():
    worker = Process()
    pid = worker._process.pid
    worker._process.stdin.close()
    assert worker._process.wait(20) == 0
    worker.end()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_added_memory_is_what_the_run_holds_at_its_peak():
    session = Session(quick=True)
    sides = [Side("hog", "toy:hog", {"megabytes": size}) for size in (80, 40)]
    row = Row("hogs", "half a hog", 1.0, 0.5, measured="MB")
    _memory.compare(session, row, *sides)
    assert row.ours["median"] == pytest.approx(80, abs=3)
    assert row.theirs["median"] == pytest.approx(40, abs=3)
    assert row.value["median"] == pytest.approx(2, abs=0.2)
    assert row.verdict == "missed"


def test_a_comparison_gives_ratio_times_and_verdict(compared):
    row = compared.rows[0]
    assert (row.peer, row.verdict) == ("slower toy", "must")
    assert 0.05 < row.value["median"] < 0.5  # 10 ms against 100 ms, with room for a busy machine
    assert row.value["q1"] <= row.value["median"] <= row.value["q3"]
    assert 5.0 <= row.ours["median"] < row.theirs["median"]  # per=2 halves 10 ms
    assert row.theirs["median"] >= 50.0
    assert row.settings["rounds"] == 3


def test_a_missing_or_broken_peer_is_named_and_fails_nothing_else(compared):
    _, absent, broken, without_ours = compared.rows
    assert absent.skipped == "a_library_that_is_not_there is not installed"
    assert broken.failed == "broken: ArithmeticError: it does not add up"
    assert without_ours.skipped == absent.skipped
    assert [row.verdict for row in compared.rows[1:]] == ["skipped", "failed", "skipped"]
    assert next(iter(_report.lines_of_reasons(compared.rows))) == (
        "skipped: toys, against absent library: a_library_that_is_not_there is not installed"
    )


def test_a_side_that_dies_in_its_turn_fails_its_comparison_and_not_the_next():
    session = Session(quick=True)
    dying = Side("dying", "toy:dies_later", {"turns": EFFORT.warmups + 1})
    try:
        session.compare("first", TOY, [Peer(dying)], effort=EFFORT)
        session.compare("second", TOY, [Peer(TOY)], effort=EFFORT)
    finally:
        session.end()
    first, second = session.rows
    assert "the worker process ended: exit status 4" in first.failed
    assert second.failed is None
    assert second.value["median"] == pytest.approx(1.0, abs=0.5)


def test_apart_each_turn_has_a_process_of_its_own():
    session = Session(quick=True)
    effort = dataclasses.replace(EFFORT, apart=True, warmups=1, fewest_rounds=2)
    once = Side("good for two runs", "toy:dies_later", {"turns": 2})
    thrice = dataclasses.replace(once, name="good for one", kwargs={"turns": 1})
    try:
        session.compare("apart", TOY, [Peer(once), Peer(thrice)], effort=effort)
    finally:
        session.end()
    assert session.rows[0].settings["rounds"] == 2
    assert session.rows[0].failed is None
    assert "exit status 4" in session.rows[1].failed


def test_sides_take_turns():
    order = []

    class Recorded:
        def __init__(self, name):
            self.name = name

        def run(self, n):
            order.append((self.name, n))
            return [0.005] * n

    seats = {0: Recorded("A"), 1: Recorded("B")}
    measured, counts = _session.take_turns(seats, {0: 0.005, 1: 0.01}, EFFORT)
    assert counts == {0: 2, 1: 1}
    assert order == [("A", 2), ("B", 1)] * 3
    assert measured == {0: [[0.005, 0.005]] * 3, 1: [[0.005]] * 3}


def test_the_ratio_is_the_median_over_rounds_of_medians():
    ours, peer = [[1.0, 1.0, 9.0], [4.0], [3.0]], [[2.0], [4.0, 4.0], [2.0]]
    ratio = _statistics.ratio_of_rounds(ours, peer)  # of 1/2, 1 and 3/2
    assert ratio == {"median": 1.0, "q1": 0.75, "q3": 1.25}
    with pytest.raises(ValueError, match="shorter"):
        _statistics.ratio_of_rounds(ours, peer[:2])


def test_exponents_of_known_powers():
    sizes = [10, 100, 1000]
    fitted = _statistics.exponent(sizes, [3 * s**1.5 for s in sizes])
    assert fitted == pytest.approx({"all": 1.5, "last_two": 1.5})
    flat_then_steep = _statistics.exponent(sizes, [5.0, 5.0, 50.0])
    assert flat_then_steep == pytest.approx({"all": 0.5, "last_two": 1.0})
    assert _statistics.exponent(sizes, [0.0, -1.0, 2.0]) == {"all": None, "last_two": None}


@pytest.mark.parametrize(
    ("value", "must", "aim", "verdict"),
    [
        (0.4, 0.5, 0.4, "aim"),
        (0.45, 0.5, 0.4, "must"),
        (0.51, 0.5, 0.4, "missed"),
        (0.1, None, None, "-"),
        (None, 0.5, 0.4, "-"),
    ],
)
def test_verdicts(value, must, aim, verdict):
    assert _statistics.verdict(value, must, aim) == verdict


def test_the_json_is_whole_and_names_no_folder_and_no_host(compared, tmp_path):
    failing = Session(quick=True)
    failing.rows = [*compared.rows, Row("x", "y", failed=f"OSError: {pathlib.Path.home()}/z")]
    result = _report.as_dict("toys", failing, "Toys")
    path = tmp_path / "new" / "toys.json"
    _report.write_json(path, result)
    text = path.read_text()
    assert json.loads(text) == json.loads(json.dumps(result))
    assert not re.search(rf"\b{re.escape(os.uname().nodename)}\b", text)
    for folder in (pathlib.Path.home(), command.pathlib.Path.cwd(), sys.prefix):
        assert f"{folder}/" not in text
    assert result["quick"]
    assert result["command"] == "python -m benchmarks toys --quick"
    assert result["machine"]["versions"]["keras"] == keras.__version__
    assert [row["verdict"] for row in result["rows"][:2]] == ["must", "skipped"]
    _summary.write_summary(path.parent)
    summary = (path.parent / "README.md").read_text()
    assert "| toys | absent library |  | 0.5 | 0.05 | skipped: a_library_that_is" in summary
    assert _figure.draw(tmp_path / "toys.png", result)
    assert (tmp_path / "toys.png").read_bytes().startswith(b"\x89PNG")


def test_paths_are_cut_out_of_messages():
    text = f"FileNotFoundError: '/elsewhere/x.json' and {sys.prefix}/lib/a.py, 1/2"
    assert _surroundings.without_paths(text) == "FileNotFoundError: … and lib/a.py, 1/2"


def test_an_unknown_name_lists_the_known_ones():
    done = click.testing.CliRunner().invoke(command.main, ["lstmm"])
    assert done.exit_code == 2
    assert "NAME must be one of lstm, lru, tbptt" in done.output
    assert "or all. Received: NAME='lstmm'" in done.output


def test_every_name_is_a_module_with_a_title():
    code = (
        "import importlib, sys\n"
        "from benchmarks.__main__ import NAMES\n"
        "for name in NAMES:\n"
        "    module = importlib.import_module(f'benchmarks.{name}')\n"
        "    assert callable(module.measure) and module.TITLE, name\n"
        "assert not {'tensorflow', 'keras', 'torch', 'jax'} & set(sys.modules)\n"
    )
    root = pathlib.Path(command.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.parametrize("kind", ["lstm", "loop"])
def test_torch_computes_the_lstm_of_keras(kind):
    with_torch = _peer("torch")
    x = data.sequences(3, 20, 5)
    layer = keras.layers.LSTM(7, return_sequences=True, bias_initializer="normal")
    expected = layer(x)
    model = with_torch.model_of(kind, 5, 7, p=1.0).eval()
    with_torch.set_keras_weights(model.recurrent, *layer.get_weights())
    outputs = model.recurrent(with_torch.torch.as_tensor(x))[0].detach().numpy()
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_the_published_loop_detaches_h_and_nothing_else():
    with_torch = _peer("torch")
    x = with_torch.torch.as_tensor(data.sequences(2, 6, 3)).requires_grad_()
    gradients = []
    for p in (0.0, 1.0):
        with_torch.torch.manual_seed(0)
        model = with_torch.model_of("loop", 3, 4, p=p).train()
        (gradient,) = with_torch.torch.autograd.grad(model.recurrent(x)[0][:, -1].sum(), x)
        gradients.append(gradient.abs().sum(dim=(0, 2)).numpy())
    whole, cut = gradients
    assert cut[-1] == pytest.approx(whole[-1], rel=1e-5)  # the last step hears of no detaching
    assert np.all(cut[:-1] > 0)  # through c
    assert np.all(np.abs(cut[:-1] / whole[:-1] - 1) > 1e-3)


@pytest.mark.parametrize("kind", ["scan", "associative_scan"])
def test_jax_computes_our_lru(kind):
    with_jax = _peer("jax")
    x = data.sequences(2, 30, 8)
    expected = with_rnnzoo.lru_layer(8)(x)
    y = with_jax.apply(data.lru_weights(8), x, kind)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "apply"),
    [("lru_block", "block"), ("complex_rnn", "complex"), ("linear_rnn", "linear")],
)
def test_jax_computes_our_other_linear_layers(kind, apply):
    with_jax = _peer("jax")
    x = data.sequences(2, 30, 8)
    expected = getattr(with_rnnzoo, f"{kind}_layer")(8)(x, training=True)
    y = getattr(with_jax, f"apply_{apply}")(getattr(data, f"{kind}_weights")(8), x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_the_windows_through_keras_are_the_truncated_wrapper():
    x = data.sequences(2, 9, 3)
    ours = with_rnnzoo.window_model(units=4, steps=9, features=3, k=4)
    ends, starts = with_keras.window_models(units=4, features=3)
    for model in (ends, starts):
        model.set_weights(ours.get_weights())
    cut = [x[:, t - 4 : t] for t in range(4, 10)]
    outputs = with_keras.window_outputs(ends, starts, x[:, :3], cut)
    np.testing.assert_allclose(outputs, ours(x), atol=1e-5)


def _peer(library):
    pytest.importorskip(library, reason=f"{library} is not installed: make bench installs it")
    return __import__(f"benchmarks.peers.with_{library}", fromlist=["_"])
