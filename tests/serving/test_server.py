"""The local server answers as TensorFlow Serving does, within its bounds, and ends in order."""

import json
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from served_models import F, exported, x_of
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from rnnzoo.serving import Server, Stream


@pytest.fixture(scope="module")
def server():
    with Server([exported(name)[1] for name in ("single", "whole")], max_bytes=100_000) as started:
        yield started


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def http(server):
    with requests.Session() as session:
        session.trust_env = False

        def call(method, path, body=None, **options):
            data = json.dumps(body) if isinstance(body, dict) else body
            return session.request(
                method, f"{server.rest_address}/v1/models/{path}", data=data, timeout=20, **options
            )

        yield call


def predict_request(model, signature="", version=None, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_predict_over_grpc(stub):
    model, _ = exported("single")
    x = x_of(2, 5)
    answer = stub.Predict(predict_request("single", x=x, lengths=np.array([5, 3], "int32")))
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("single", 1)
    assert answer.model_spec.signature_name == "serving_default"
    assert set(answer.outputs) == {"outputs", "next_state_simple_rnn_h"}
    found = tf.make_ndarray(answer.outputs["outputs"])
    np.testing.assert_allclose(found[0], model(x)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], model(x[1:, :3])[0], rtol=1e-5, atol=1e-6)


def test_values_in_their_typed_fields_and_one_for_all_are_read(stub):
    request = predict_request("single", "initial_state", rows=np.zeros(3, "int32"))
    state = tf.make_ndarray(stub.Predict(request).outputs["state_simple_rnn_h"])
    np.testing.assert_array_equal(state, np.zeros([3, 3]))
    ones = predict_request("single", "step", x=np.zeros([2, F], "float32"))
    ones.inputs["state_simple_rnn_h"].dtype = tf.float32.as_datatype_enum
    ones.inputs["state_simple_rnn_h"].tensor_shape.CopyFrom(tf.TensorShape([2, 3]).as_proto())
    ones.inputs["state_simple_rnn_h"].float_val.append(1.0)
    whole = predict_request(
        "single", "step", x=np.zeros([2, F], "float32"), state_simple_rnn_h=np.ones([2, 3], "f4")
    )
    assert stub.Predict(ones).outputs == stub.Predict(whole).outputs


def test_an_output_filter_chooses(stub):
    request = predict_request("single", "initial_state", rows=np.zeros(1, "int32"))
    request.output_filter.append("state_simple_rnn_h")
    assert list(stub.Predict(request).outputs) == ["state_simple_rnn_h"]
    request.output_filter.append("h")
    with pytest.raises(grpc.RpcError, match="output_filter must name outputs once, of state_simp"):
        stub.Predict(request)


def test_metadata_is_that_of_the_file_over_both(stub, http):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "single"
    answer = stub.GetModelMetadata(request)
    assert answer.model_spec.version.value == 1
    definitions = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(definitions)
    x = definitions.signature_def["step"].inputs["x"]
    assert (x.dtype, [d.size for d in x.tensor_shape.dim]) == (1, [-1, F])
    fields = http("GET", "single/versions/1/metadata").json()
    assert fields["model_spec"] == {"name": "single", "signature_name": "", "version": "1"}
    x = fields["metadata"]["signature_def"]["signature_def"]["step"]["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT"
    assert [d["size"] for d in x["tensor_shape"]["dim"]] == ["-1", "3"]
    status = {"error_code": "OK", "error_message": ""}
    assert http("GET", "single").json() == {
        "model_version_status": [{"version": "1", "state": "AVAILABLE", "status": status}]
    }


def test_rest_takes_columns_and_rows(http):
    model, _ = exported("single")
    x = x_of(2, 4)
    expected = np.array(model(x))
    columns = {"inputs": {"x": x.tolist(), "lengths": [4, 4]}}
    outputs = http("POST", "single:predict", columns).json()["outputs"]
    np.testing.assert_allclose(outputs["outputs"], expected, rtol=1e-5, atol=1e-6)
    rows = [{"x": row.tolist(), "lengths": 4} for row in x]
    answer = http("POST", "single/versions/1:predict", {"instances": rows})
    predictions = answer.json()["predictions"]
    np.testing.assert_allclose([p["outputs"] for p in predictions], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        [p["next_state_simple_rnn_h"] for p in predictions], expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_rest_leaves_out_the_names_of_a_single_input_and_output(http, key):
    body = {"signature_name": "initial_state", key: [0, 0]}
    answer = http("POST", "single:predict", body).json()
    assert answer == {{"inputs": "outputs", "instances": "predictions"}[key]: [[0.0] * 3] * 2}


_STEP = {"x": np.ones([1, F], "float32"), "state_simple_rnn_h": np.ones([1, 3], "float32")}


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (predict_request("m"), "NOT_FOUND", r"Servable not found for request: Latest\(m\)"),
        (predict_request("single", version=2), "NOT_FOUND", r"Specific\(single, 2\)"),
        (predict_request("single", "train"), "FAILED_PRECONDITION", 'key "train" not found'),
        (predict_request("single", "step"), "INVALID_ARGUMENT", "Missing but required: {state_"),
        (predict_request("single", "step", y=1.0, **_STEP), "INVALID_ARGUMENT", "extra: {y}"),
        (
            predict_request("single", "step", **{**_STEP, "x": np.ones([1, F])}),
            "INVALID_ARGUMENT",
            r"'x' must be float32 \[\?, 3\]. Received: the type DT_DOUBLE",
        ),
        (
            predict_request("single", "step", **{**_STEP, "x": np.ones([1, 4], "f4")}),
            "INVALID_ARGUMENT",
            r"'x' must be float32 \[\?, 3\]. Received: the shape \[1, 4\]",
        ),
        (
            predict_request("single", "step", **{**_STEP, "x": np.ones([2, F], "f4")}),
            "INVALID_ARGUMENT",
            "same number of rows",
        ),
        (
            predict_request("single", x=x_of(1, 2), lengths=np.array([3], "int32")),
            "INVALID_ARGUMENT",
            "`lengths` must be from 0",
        ),
        (
            predict_request("single", "initial_state", rows=np.zeros([20_000], "int32")),
            "RESOURCE_EXHAUSTED",
            "the output 'state_simple_rnn_h' has 240,000 bytes, more than the 100,000",
        ),
        (
            predict_request("single", "initial_state", rows=np.zeros([30_000], "int32")),
            "RESOURCE_EXHAUSTED",
            "larger than max",
        ),
    ],
)
def test_what_grpc_refuses(stub, request_, code, words):
    with pytest.raises(grpc.RpcError, match=words) as caught:
        stub.Predict(request_)
    assert caught.value.code().name == code


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("m:predict", {"inputs": [1]}, 404, "Servable not found for request: Latest(m)"),
        ("single/versions/9:predict", {"inputs": [1]}, 404, "Specific(single, 9)"),
        ("single:predict", "{", 400, "JSON Parse error"),
        ("single:predict", {"inputs": [1]}, 400, "'inputs' must be an object with the keys "),
        ("single:predict", {"signature_name": "t", "inputs": [1]}, 400, 'key "t" not found'),
        ("single:classify", {"examples": []}, 501, "There is no classify here"),
        ("single", {"inputs": [1]}, 400, "Malformed request: POST /v1/models/single"),
        ("single:predict", b"x" * 100_001, 429, "more than the 100,000 allowed here"),
        (
            "single:predict",
            {"signature_name": "initial_state", "inputs": [0] * 20_000},
            429,
            "has 240,000 bytes",
        ),
    ],
)
def test_what_rest_refuses(http, path, body, status, words):
    answer = http("POST", path, body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
    assert words in answer.json()["error"]


def test_a_body_without_its_length_is_refused(http):
    answer = http("POST", "single:predict", (b"{}" for _ in range(1)))
    assert (answer.status_code, "Content-Length" in answer.json()["error"]) == (400, True)


def test_new_versions_are_found_and_broken_ones_left_alone(tmp_path, caplog):
    folder = tmp_path / "m"
    shutil.copytree(exported("single")[1], folder)
    with Server(folder, poll=0.02) as server:
        (folder / "2").mkdir()
        (folder / "2" / "saved_model.pb").write_bytes(b"no model")
        wait_until(lambda: "m version 2 does not load" in caplog.text)
        assert server.versions == {"m": 1}
        shutil.copytree(exported("whole")[1] / "1", tmp_path / "3")
        (tmp_path / "3").rename(folder / "3")
        wait_until(lambda: server.versions == {"m": 3})
        shutil.rmtree(folder / "3")
        wait_until(lambda: server.versions == {"m": 1})
        shutil.rmtree(folder)
        time.sleep(0.1)
        with Stream(server.rest_address, "m") as stream:
            assert stream.version == 1
    assert caplog.text.count("version 2 does not load") == 1


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Slow:
    """Holds every request in the server's hands until it is told to go on."""

    def __init__(self, server, monkeypatch):
        version = server._backend.model("single").version()
        run, self.begun, self.go_on = version.predict, threading.Semaphore(0), threading.Event()

        def predict(*arguments):
            self.begun.release()
            assert self.go_on.wait(20)
            return run(*arguments)

        monkeypatch.setattr(version, "predict", predict)


def sending(address, results):
    """A thread that sends one step and notes the answer or the error."""
    stream = Stream(address, "single", reconnect=0)

    def send():
        try:
            results.append(stream.send(np.ones([1, F])).shape)
        except (ConnectionError, TimeoutError) as error:
            results.append(str(error))
        stream.close()

    thread = threading.Thread(target=send)
    return thread


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_a_full_queue_refuses_and_the_end_waits_for_what_is_in_hand(way, monkeypatch):
    """One computes, one waits, the third is refused; `stop` answers the first two."""
    results = []
    with Server(exported("single")[1], workers=1, queue=1) as server:
        threads = [sending(getattr(server, f"{way}_address"), results) for _ in range(3)]
        slow = Slow(server, monkeypatch)
        for thread in threads[:2]:
            thread.start()
        assert slow.begun.acquire(timeout=20)
        wait_until(lambda: server._backend.admission._inside == 2)
        threads[2].start()
        threads[2].join()
        assert len(results) == 1
        assert "The queue is full: 2 requests" in results.pop()
        stopped = []
        stop = threading.Thread(target=lambda: stopped.append(server.stop(20)))
        stop.start()
        time.sleep(0.1)
        assert not stopped
        slow.go_on.set()
        for thread in [*threads[:2], stop]:
            thread.join(20)
        assert results == [(1, 3)] * 2
        assert stopped == [True]
        with pytest.raises(ConnectionError, match="no server answers"):
            Stream(server.grpc_address, "single", reconnect=0)


def test_the_end_does_not_wait_for_ever(monkeypatch):
    with Server(exported("single")[1]) as server:
        results = []
        thread = sending(server.rest_address, results)
        slow = Slow(server, monkeypatch)
        thread.start()
        assert slow.begun.acquire(timeout=20)
        assert server.stop(drain=0.1) is False
        slow.go_on.set()
        thread.join(20)


def test_it_listens_on_loopback_and_a_taken_port_is_an_error(server):
    assert server.grpc_address.startswith("127.0.0.1:")
    port = int(server.rest_address.rpartition(":")[2])
    for name in ("grpc_port", "rest_port"):
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            Server(exported("single")[1], **{name: port})


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"directories": []}, ValueError, "`directories` must name a folder"),
        ({"directories": "nowhere"}, ValueError, "must each hold a version that loads"),
        ({"directories": ["single", "single"]}, ValueError, "must have different names"),
        ({"directories": 3}, TypeError, "`path` must be a string or a path"),
        ({"host": ""}, TypeError, "`host` must be an address"),
        ({"grpc_port": 70_000}, ValueError, "`grpc_port` must be at most 65535"),
        ({"queue": -1}, ValueError, "`queue` must be an integer of at least 0"),
        ({"workers": 0}, ValueError, "`workers` must be an integer of at least 1"),
        ({"max_bytes": 0}, ValueError, "`max_bytes` must be an integer of at least 1"),
        ({"poll": 0}, ValueError, r"`poll` must be a number in \(0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    folder = exported("single")[1]
    directories = arguments.pop("directories", folder)
    if isinstance(directories, list):
        directories = [folder for _ in directories]
    with pytest.raises(error, match=words):
        Server(directories, **arguments)
