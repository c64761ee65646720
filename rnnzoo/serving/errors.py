"""What a server answers instead of outputs."""

from __future__ import annotations


class ServingError(RuntimeError):
    """A server's refusal.

    Attributes:
        code: its canonical name, the same over gRPC and REST: ``"INVALID_ARGUMENT"``,
            ``"NOT_FOUND"``, ...
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


# TensorFlow Serving's table (model_servers/http_server.cc), codes without a line of their own: 500.
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
