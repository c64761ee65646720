"""`Stream` over gRPC: Predict and GetModelMetadata by the stubs of tensorflow-serving-api."""

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from rnnzoo.serving._specs import signatures_of_proto
from rnnzoo.serving.errors import ServingError

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    # A server that comes back is found in a second, not after the usual minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class Grpc:
    """One channel to one model."""

    def __init__(self, address, model):
        self.address, self._model = address, model
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def metadata(self, version, timeout):
        """`(version, {name: Signature})` of the model."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request, version)
        answer = _call(self._stub.GetModelMetadata, request, timeout)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(definitions)
        return answer.model_spec.version.value, signatures_of_proto(definitions.signature_def)

    def predict(self, version, name, signature, arrays, timeout):
        request = predict_pb2.PredictRequest()
        self._name(request, version)
        request.model_spec.signature_name = name
        for key, array in arrays.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
        answer = _call(self._stub.Predict, request, timeout)
        return {key: tf.make_ndarray(tensor) for key, tensor in answer.outputs.items()}

    def _name(self, request, version):
        request.model_spec.name = self._model
        if version is not None:
            request.model_spec.version.value = version

    def close(self):
        self._channel.close()


def _call(method, request, timeout):
    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
        if code == grpc.StatusCode.UNAVAILABLE:
            raise ConnectionError(details) from error
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise TimeoutError(f"no answer in {timeout:.3g} s: {details}") from error
        raise ServingError(code.name, details) from error
