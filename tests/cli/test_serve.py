"""`rnnzoo serve` as a process: it says where it listens, drains at SIGTERM, and keeps its size."""

import threading
import time

import grpc
import numpy as np
import pytest
from served_models import F, exported, x_of

from benchmarks._server import ServerProcess
from benchmarks._soak import GROWTH, resident, soak
from rnnzoo.serving import Server, Stream


@pytest.mark.slow  # seven seconds until a process with TensorFlow is there
def test_sigterm_answers_what_is_in_hand():
    """A sequence of many steps is under way when the signal comes."""
    model, folder = exported("single")
    x, answers = np.zeros([1, 30_000, F], "float32"), []
    with ServerProcess(folder) as server:
        assert server.model == "single"
        assert all("127.0.0.1:" in address for address in server.addresses.values())
        with Stream(server.addresses["gRPC"], "single") as stream:
            y = stream.send(x_of(1, 1)[:, 0])
            np.testing.assert_allclose(y, model(x_of(1, 1)), rtol=1e-5, atol=1e-6)
            connection = stream._connection
            arrays = {"x": x, "lengths": np.array([30_000], "int32")}
            whole = lambda t, _: t.predict(1, "serving_default", None, arrays, 60)  # noqa: E731
            asking = threading.Thread(target=lambda: answers.append(connection(whole)))
            asking.start()
            time.sleep(0.3)
            assert not answers
            assert server.end() == 0
            asking.join(20)
    assert set(answers[0]) == {"outputs", "next_state_simple_rnn_h"}
    assert server.lines.get(timeout=5) == "Ended."


def test_messages_leave_nothing_behind():
    """60 calls of half a megabyte, in and out: kept, they would be 30 MB."""
    memory = []
    with Server(exported("single")[1]) as server:
        for address in (server.grpc_address, server.grpc_address):
            with Stream(address, "single", rows=20_000) as stream:
                x = np.ones([20_000, F], "float32")
                for _ in range(60):
                    stream.send(x)
            memory.append(resident("self"))
    assert memory[1] - memory[0] < 10e6


def test_broken_requests_leave_nothing_behind():
    """gRPC itself keeps 17 kB of each request that its deserializer refuses: 8 MB of these."""
    with (
        Server(exported("single")[1]) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        memory = []
        for count in (100, 500):
            for _ in range(count):
                with pytest.raises(grpc.RpcError, match="The request cannot be decoded"):
                    predict(b"\xff\xff")
            memory.append(resident("self"))
    assert memory[1] - memory[0] < 3e6


@pytest.mark.slow
def test_a_soak_leaves_memory_as_it_is_and_answers_right():
    with ServerProcess(exported("single")[1]) as server:
        result = soak(server, 90, features=F)
        assert server.end() == 0
    assert result["wrong"] == 0
    assert min(result["answered"].values()) > 1000
    assert result["broken"] > 500
    assert result["late_mb"] < (1 + GROWTH) * result["early_mb"]
