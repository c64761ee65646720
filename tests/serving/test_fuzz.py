"""Broken and hostile requests: each is an answer, and the server serves on."""

import contextlib
import json
import socket
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served_models import F, exported, x_of
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from rnnzoo.serving import Server, Stream

METHODS = [f"/tensorflow.serving.PredictionService/{m}" for m in ("Predict", "GetModelMetadata")]
FUZZ = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def server():
    with Server(exported("single")[1], max_bytes=200_000) as started:
        yield started


@pytest.fixture(autouse=True)
def serves_on(server):
    """After each test: the same numbers as ever, over both ways."""
    yield
    x = x_of(1, 1)
    for address in (server.grpc_address, server.rest_address):
        with Stream(address, "single") as stream:
            np.testing.assert_allclose(
                stream.send(x[:, 0]), exported("single")[0](x), rtol=1e-5, atol=1e-6
            )
    until = time.monotonic() + 10  # what a broken connection has begun may still be ending
    while server._backend.admission._inside and time.monotonic() < until:
        time.sleep(0.01)
    assert server._backend.admission._inside == 0


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc_address) as opened:
        yield opened


def send(channel, method, message):
    """The status of a call with these bytes, and what it says."""
    try:
        channel.unary_unary(method)(message, timeout=20)
        return "OK", ""
    except grpc.RpcError as error:
        return error.code().name, error.details()


def step_request():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "single"
    request.model_spec.signature_name = "step"
    for name, value in {
        "x": np.ones([1, F], "f4"),
        "state_simple_rnn_h": np.ones([1, 3], "f4"),
    }.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_truncated_messages(channel):
    message = step_request().SerializeToString()
    found = {send(channel, METHODS[0], message[:n])[0] for n in range(0, len(message), 3)}
    assert found <= {"INTERNAL", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"}
    assert "INTERNAL" in found  # the bytes are no message
    assert send(channel, METHODS[0], message)[0] == "OK"


@FUZZ
@given(st.sampled_from(METHODS), st.data())
def test_changed_bytes(channel, method, data):
    message = bytearray(step_request().SerializeToString())
    for _ in range(data.draw(st.integers(1, 5))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    assert send(channel, method, bytes(message))[0] not in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


@FUZZ
@given(
    st.sampled_from([*types_pb2.DataType.values(), 77, -1]),
    st.lists(st.sampled_from([-(2**62), -2, -1, 0, 1, 3, 2**31, 2**62]), max_size=5),
    st.booleans(),
    st.binary(max_size=24),
    st.lists(st.floats(width=32), max_size=4),
)
def test_wrong_types_and_huge_shapes(channel, dtype, shape, unknown, content, values):
    """A shape says how much memory is filled with the one value given."""
    request = step_request()
    tensor = request.inputs["x"]
    tensor.Clear()
    tensor.dtype = dtype
    for size in shape:
        tensor.tensor_shape.dim.add().size = size
    tensor.tensor_shape.unknown_rank = unknown
    tensor.tensor_content = content
    tensor.float_val.extend(values)
    code, words = send(channel, METHODS[0], request.SerializeToString())
    good = dtype == types_pb2.DT_FLOAT and shape == [1, 3] and not unknown
    assert code == "INVALID_ARGUMENT" or good or "more than the 200,000" in words, words


def test_a_huge_shape_is_refused_before_it_is_filled(channel):
    request = step_request()
    del request.inputs["x"].tensor_shape.dim[:]
    for size in (2**40, F):
        request.inputs["x"].tensor_shape.dim.add().size = size
    request.inputs["x"].tensor_content = b""
    request.inputs["x"].float_val.append(1.0)
    code, words = send(channel, METHODS[0], request.SerializeToString())
    assert code == "RESOURCE_EXHAUSTED"
    assert words == "'x' has 13,194,139,533,312 bytes, more than the 200,000 allowed here"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["x", "rows", "inputs", "b64", "lengths"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@FUZZ
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "inputs": _JSON,
            "instances": _JSON,
            "signature_name": st.sampled_from(["step", "initial_state", "", "no"]) | _JSON,
        },
    )
)
def test_wrong_json(server, document):
    status, answer = post(server, json.dumps(document).encode())
    assert status in (200, 400)
    assert set(json.loads(answer)) <= {"error", "outputs", "predictions"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff",
        b'{"inputs": {"x": [[1, 2',
        b"[" * 100_000,
        b'{"inputs":' * 15_000,
        b'{"signature_name": "initial_state", "inputs": ' + b"9" * 90_000 + b"}",
        b'{"signature_name": "initial_state", "inputs": [1e999]}',
        b'{"signature_name": "initial_state", "inputs": ["' + b"a" * 50_000 + b'", "b"]}',
    ],
    ids=lambda body: body[:20].decode("latin1"),
)
def test_bodies_that_are_not_what_they_should_be(server, body):
    status, answer = post(server, body)
    assert status == 400
    assert json.loads(answer)["error"]


def post(server, body):
    """Status and body of an answer, over a connection of its own."""
    head = f"POST /v1/models/single:predict HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
    answer = raw(server, head.encode() + b"Connection: close\r\n\r\n" + body)
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def raw(server, sent):
    """What comes back to these bytes, until the server closes."""
    port = int(server.rest_address.rpartition(":")[2])
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
    return received


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_what_is_no_http(server, sent):
    answer = raw(server, sent + b"\r\n\r\n")
    assert not answer.startswith(b"HTTP/1.1 5") or answer.startswith(b"HTTP/1.1 50")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -1",
        b"Content-Length: 1e3",
        b"Content-Length: " + b"9" * 40,
        b"Content-Length: 50\r\nTransfer-Encoding: chunked",
        b"Content-Length: 50",
        b"X: " + b"a" * 70_000,
        b"\r\n".join(b"X%d: a" % n for n in range(300)),
    ],
    ids=lambda head: head[:30].decode(),
)
def test_heads_that_lie(server, head):
    answer = raw(server, b"POST /v1/models/single:predict HTTP/1.1\r\n" + head + b"\r\n\r\n{}")
    assert answer.split()[1] in (b"400", b"429", b"431")


def test_connections_that_break_off(server):
    port = int(server.rest_address.rpartition(":")[2])
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(
                b"POST /v1/models/single:predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"
            )


def test_nan_everywhere(channel):
    request = step_request()
    for name in request.inputs:
        value = np.full([1, 3], np.nan, "float32")
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    assert send(channel, METHODS[0], request.SerializeToString())[0] == "OK"
