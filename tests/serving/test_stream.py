"""Streams over gRPC and REST: the same numbers as one call, and errors that say what is wrong."""

import itertools
import pathlib
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from served_models import F, example, exported, x_of

import rnnzoo
from rnnzoo.export import export_model
from rnnzoo.serving import Server, ServingError, Stream

WAYS = ("grpc", "rest")
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def server():
    folders = [exported(name)[1] for name in ("stack", "single", "tokens", "several", "whole")]
    with Server(folders, poll=0.1) as started:
        yield started


def address_of(server, way):
    return getattr(server, f"{way}_address")


@pytest.fixture(params=WAYS)
def address(server, request):
    return address_of(server, request.param)


def test_step_by_step_equals_the_whole(address):
    model, _ = exported("stack")
    x = x_of(3, 12)
    with Stream(address, "stack", rows=3) as stream:
        assert stream.version == 1
        assert all(not value.any() for value in stream.state.values())
        y = np.stack([stream.send(x[:, t]) for t in range(12)], 1)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, model(x), **CLOSE)


def test_one_state_one_output_and_tokens(address):
    x = x_of(2, 6)
    with Stream(address, "single", rows=2) as stream:
        for t in range(6):
            y = stream.send(x[:, t])
    np.testing.assert_allclose(y, exported("single")[0](x), **CLOSE)
    ids = np.random.default_rng(0).integers(0, 11, (2, 6))
    with Stream(address, "tokens", rows=2) as stream:
        for t in range(6):
            y = stream.send(ids[:, t])
        with pytest.raises(TypeError, match=r"`x` must be int32 \[\?\]\. Received: .* of float64"):
            stream.send([0.5, 1.0])
        with pytest.raises(ValueError, match="`x` must fit into int32"):
            stream.send(np.array([2**40, 0]))
    np.testing.assert_allclose(y, exported("tokens")[0](ids.astype("int32")), **CLOSE)


def test_several_inputs_and_outputs_by_name(address):
    left, right = x_of(2, 4), x_of(2, 4, 2, seed=1)
    with Stream(address, "several", rows=2) as stream:
        found = [stream.send({"left": left[:, t], "right": right[:, t]}) for t in range(4)]
        with pytest.raises(ValueError, match="`x` must have the inputs left, right"):
            stream.send({"left": left[:, 0]})
        with pytest.raises(TypeError, match="`x` must be a dict of left, right"):
            stream.send(left[:, 0])
    for name, expected in zip(("first", "second"), exported("several")[0]([left, right])):
        np.testing.assert_allclose(np.stack([y[name] for y in found], 1), expected, **CLOSE)


def test_rows_are_streams_of_their_own(address):
    """Three streams in one call, each going on, pausing and beginning anew by itself."""
    model, _ = exported("stack")
    x = x_of(3, 5)
    with Stream(address, "stack", rows=3) as stream:
        stream.send(x[:, 0])
        before = stream.state
        np.testing.assert_allclose(
            stream.send(x[[2, 0], 1], rows=[2, 0]), np.array(model(x))[[2, 0], 1], **CLOSE
        )
        for name, value in stream.state.items():
            np.testing.assert_array_equal(value[1], before[name][1])
            assert not np.array_equal(value[0], before[name][0])
        stream.reset(rows=[0])
        y = stream.send(x[:, 2], rows=[0, 1, 2])
        alone = model(x[:1, 2:3])[0, 0], model(x[1:2, [0, 2]])[0, 1], model(x[2:, :3])[0, 2]
        np.testing.assert_allclose(y, np.stack(alone), **CLOSE)
        stream.reset()
        assert all(not value.any() for value in stream.state.values())


def test_a_state_moves_to_another_stream(server):
    model, _ = exported("stack")
    x = x_of(1, 6)
    with Stream(server.grpc_address, "stack") as first:
        for t in range(3):
            first.send(x[:, t])
        with Stream(server.rest_address, "stack") as second:
            second.state = first.state
            y = [second.send(x[:, t]) for t in range(3, 6)]
            with pytest.raises(ValueError, match="`state` must be a dict of state_gru_h"):
                second.state = {}
    np.testing.assert_allclose(np.stack(y, 1), model(x)[:, 3:], **CLOSE)


@pytest.mark.parametrize("way", WAYS)
def test_nan_reaches_the_model_and_comes_back(server, way):
    with Stream(address_of(server, way), "single", rows=2) as stream:
        y = stream.send(np.array([[np.nan] * F, [np.inf, 0, 0]]))
    assert np.isnan(y[0]).all()
    np.testing.assert_array_equal(np.abs(y[1]), 1.0)


@pytest.mark.parametrize(
    ("x", "rows", "error", "words"),
    [
        (
            np.ones([2, 4]),
            None,
            ValueError,
            r"`x` must have the shape \[2, 3\]. Received: \[2, 4\]",
        ),
        (np.ones([3]), None, ValueError, r"`x` must have the shape \[2, 3\]. Received: \[3\]"),
        (np.ones([2, F]), [0], ValueError, r"`x` must have the shape \[1, 3\]. Received: \[2, 3\]"),
        (np.ones([2, F]), [0, 0], ValueError, "`rows` must be distinct indices from 0 to 1"),
        (np.ones([2, F]), [0, 2], ValueError, "`rows` must be distinct indices from 0 to 1"),
        (np.ones([2, F]), 1, TypeError, "`rows` must be a list of indices. Received: rows=1"),
        ([["a"] * F] * 2, None, TypeError, "`x` must be float32 .* Received: an array of <U1"),
    ],
)
def test_a_wrong_input_is_refused_before_it_is_sent(server, x, rows, error, words):
    with Stream(server.rest_address, "single", rows=2) as stream:
        before = stream.state
        with pytest.raises(error, match=words):
            stream.send(x, rows=rows)
        np.testing.assert_array_equal(
            stream.state["state_simple_rnn_h"], before["state_simple_rnn_h"]
        )


def test_models_that_are_not_there_or_cannot_step(address):
    with pytest.raises(
        ValueError, match=r"`model` must be one that .* serves: Servable not found "
    ):
        Stream(address, "nothing")
    with pytest.raises(ValueError, match="Received: model=single, version 7"):
        Stream(address, "single", version=7)
    with pytest.raises(ValueError, match=r"must have the signatures step and initial_state.*whole"):
        Stream(address, "whole")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"address": 8500}, TypeError, "`address` must be a string"),
        ({"address": "localhost"}, ValueError, "`address` must be host:port for gRPC, or http"),
        ({"address": "ftp://localhost:1"}, ValueError, "`address` must be host:port for gRPC"),
        ({"model": ""}, TypeError, "`model` must be a name"),
        ({"rows": 0}, ValueError, "`rows` must be an integer of at least 1"),
        ({"version": 0}, ValueError, "`version` must be an integer of at least 1"),
        ({"deadline": 0}, ValueError, r"`deadline` must be a number in \(0"),
        ({"reconnect": -1}, ValueError, r"`reconnect` must be a number in \[0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Stream(**{"address": "localhost:1", "model": "m", **arguments})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_dead_server_is_named(scheme):
    address = f"{scheme}127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionError, match=f"no server answers at {address}, tried for 0"):
        Stream(address, "m", reconnect=0.2)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_silent_server_meets_the_deadline(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        with pytest.raises((TimeoutError, ConnectionError), match=r"127\.0\.0\.1"):
            Stream(f"{scheme}127.0.0.1:{silent.getsockname()[1]}", "m", deadline=0.4)
        assert time.monotonic() - begin < 3


def test_streams_go_on_when_their_server_is_back():
    model, folder = exported("single")
    ports, x = {"grpc_port": free_port(), "rest_port": free_port()}, x_of(1, 4)
    with Server(folder, **ports) as first:
        addresses = [address_of(first, way) for way in WAYS]
        streams = [Stream(a, "single", reconnect=20, deadline=20) for a in addresses]
        for t, stream in itertools.product(range(2), streams):
            stream.send(x[:, t])
    back = []
    later = threading.Timer(0.3, lambda: back.append(Server(folder, **ports)))
    later.start()
    try:
        for stream in streams:
            y = [stream.send(x[:, t]) for t in range(2, 4)]
            np.testing.assert_allclose(y[-1], model(x), **CLOSE)
            stream.close()
    finally:
        later.join()
        back[0].stop()


def test_a_stream_keeps_to_its_version_until_it_begins_anew(tmp_path):
    folder = tmp_path / "m"
    shutil.copytree(exported("single")[1], folder)
    shutil.copytree(exported("tokens")[1] / "1", tmp_path / "2")
    tokens, x = exported("tokens")[0](np.array([[5]], "int32")), x_of(1, 2)
    with Server(folder, poll=0.05) as server:
        streams = [Stream(address_of(server, way), "m") for way in WAYS]
        for stream in streams:
            stream.send(x[:, 0])
        (tmp_path / "2").rename(folder / "2")
        while server.versions["m"] == 1:
            time.sleep(0.02)
        for stream in streams:
            with pytest.raises(ServingError, match=r"version 1 of 'm', on which .* is served no "):
                stream.send(x[:, 1])
            stream.reset()
            assert stream.version == 2
            np.testing.assert_allclose(stream.send([5]), tokens, **CLOSE)
            stream.close()


def test_a_client_over_rest_needs_no_tensorflow(server):
    code = f"""
        import sys
        from rnnzoo.serving import Stream
        with Stream({server.rest_address!r}, "single") as stream:
            print(stream.send([[0.0] * {F}]).tolist(), "tensorflow" in sys.modules)
    """
    root = pathlib.Path(rnnzoo.__file__).parent.parent
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "[[0.0, 0.0, 0.0]] False\n"


@pytest.mark.slow
@pytest.mark.parametrize("preset", [p.name for p in rnnzoo.list_presets()])
def test_every_preset_streams_as_it_runs(preset, tmp_path):
    model = rnnzoo.load(preset)
    export_model(model, tmp_path / preset, check=False)
    x = example(model, batch=2, time=50)
    whole = model(x).numpy()
    largest, streamed = np.abs(whole).max(), []
    with Server(tmp_path / preset) as server:
        for way in WAYS:
            with Stream(address_of(server, way), preset, rows=2) as stream:
                streamed.append(np.stack([stream.send(x[:, t]) for t in range(x.shape[1])], 1))
    np.testing.assert_allclose(streamed[0], streamed[1], rtol=0, atol=1e-6 * largest)
    y = streamed[0] if whole.ndim == 3 else streamed[0][:, -1]
    np.testing.assert_allclose(y, whole, rtol=0, atol=1e-5 * largest)
