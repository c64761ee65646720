"""The gRPC side of the local server: Predict and GetModelMetadata."""

import concurrent.futures
import contextlib
import math

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from rnnzoo.serving import _tensors
from rnnzoo.serving._versions import DEFAULT_SIGNATURE
from rnnzoo.serving.errors import ServingError

_SPARE = 8  # threads beyond the places, which say that there is none
_METADATA_FIELD = "signature_def"


def serve(host, port, backend):
    """A started `grpc.Server` and its port."""
    threads = backend.admission.places + _SPARE
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(threads, "grpc"),
        maximum_concurrent_rpcs=threads,
        options=(
            ("grpc.so_reuseport", 0),  # a port that is taken is an error
            ("grpc.max_receive_message_length", backend.limit),
            ("grpc.max_send_message_length", -1),
        ),
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Service(backend), server)
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {host}:{port}: {error}") from error
    server.start()
    return server, port


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, backend):
        self._backend = backend

    def Predict(self, request, context):
        with _refusing(context):
            version = self._version(request)
            name = request.model_spec.signature_name
            inputs = version.signature(name).inputs
            left = context.time_remaining()
            with self._backend.turn(math.inf if left is None else left):
                if not context.is_active():
                    raise ServingError("CANCELLED", "The client waits no more.")
                arrays = _tensors.arrays_of_request(request, inputs, self._backend.limit)
                found = version.predict(name, arrays)
            return _response(request, version, name, found)

    def GetModelMetadata(self, request, context):
        with _refusing(context):
            if list(request.metadata_field) != [_METADATA_FIELD]:
                raise ServingError(
                    "INVALID_ARGUMENT",
                    f"metadata_field must be [{_METADATA_FIELD!r}]. "
                    f"Received: {list(request.metadata_field)}",
                )
            version = self._version(request)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version.number
            response.metadata[_METADATA_FIELD].Pack(definitions(version))
            return response

    def _version(self, request):
        spec = request.model_spec
        if spec.version_label:
            raise ServingError("FAILED_PRECONDITION", "Version labels are not served here.")
        number = spec.version.value if spec.HasField("version") else None
        return self._backend.model(spec.name).version(number)


def definitions(version):
    """The signatures of a version as a `SignatureDefMap`."""
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in version.definitions.items():
        found.signature_def[name].CopyFrom(definition)
    return found


def _response(request, version, name, arrays):
    wanted = list(request.output_filter) or list(arrays)
    if len(set(wanted)) != len(wanted) or not set(wanted) <= set(arrays):
        raise ServingError(
            "INVALID_ARGUMENT", f"output_filter must name outputs once, of {', '.join(arrays)}."
        )
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version.number
    response.model_spec.signature_name = name or DEFAULT_SIGNATURE
    for output in wanted:
        response.outputs[output].CopyFrom(tf.make_tensor_proto(arrays[output]))
    return response


@contextlib.contextmanager
def _refusing(context):
    try:
        yield
    except ServingError as error:
        context.abort(grpc.StatusCode[error.code], str(error))
