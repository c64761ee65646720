"""The gRPC side of the local server: Predict and GetModelMetadata."""

import concurrent.futures
import contextlib
import functools
import math

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2,
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
    server.add_generic_rpc_handlers((_handlers(_Service(backend)),))
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {host}:{port}: {error}") from error
    server.start()
    return server, port


def _handlers(service):
    """As the generated code has them, but that bytes which are no request come to the service.

    gRPC 1.85 keeps 17 kB for ever of each request whose deserializer raises.
    """
    methods = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
    requests = {
        "Predict": predict_pb2.PredictRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    }
    return grpc.method_handlers_generic_handler(
        methods.full_name,
        {
            name: grpc.unary_unary_rpc_method_handler(
                getattr(service, name),
                request_deserializer=functools.partial(_decoded, message),
                response_serializer=lambda response: response.SerializeToString(),
            )
            for name, message in requests.items()
        },
    )


def _decoded(message, content):
    try:
        return message.FromString(content)
    except DecodeError as error:
        return error


class _Service:
    def __init__(self, backend):
        self._backend = backend

    def Predict(self, request, context):
        with _refusing(request, context):
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
        with _refusing(request, context):
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
def _refusing(request, context):
    """Answer a request that is none, or that is refused, with its status."""
    if isinstance(request, DecodeError):
        context.abort(grpc.StatusCode.INTERNAL, f"The request cannot be decoded: {request}")
    try:
        yield
    except ServingError as error:
        context.abort(grpc.StatusCode[error.code], str(error))
