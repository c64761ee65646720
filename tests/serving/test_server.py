"""The local server answers as TensorFlow Serving does, and says what it refuses."""

import json

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

from rnnzoo.serving import Server


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
        ("single:predict", b"x" * 5_000_000, 429, "more than the 100,000 allowed here"),
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
