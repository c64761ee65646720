"""The REST side of the local server, on TensorFlow Serving's paths and in its JSON."""

import http.server
import json
import logging
import re
import socketserver
import threading
import urllib.parse

from google.protobuf import json_format

from rnnzoo.serving import _json
from rnnzoo.serving._grpc_server import definitions
from rnnzoo.serving.errors import HTTP_STATUS, ServingError

_POST = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,18}))?:(classify|regress|predict)")
_GET = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,18}))?(/metadata)?")
_QUEUE_S = 30.0  # HTTP tells no deadline
_DISCARDED = 64 * 2**20  # of a refused request, so that its client comes to read the answer
_log = logging.getLogger(__name__)


class RestServer(http.server.ThreadingHTTPServer):
    """A thread for each connection, and no more connections than there is room for."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host, port, backend):
        self.backend = backend
        self._connections = threading.Semaphore(backend.connections)
        super().__init__((host, port), _Handler)

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # without asking a name server for our name

    def process_request(self, request, client_address):
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request, client_address):
        _log.debug("a connection broke off", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # of an idle or a slow connection
    wbufsize = -1  # headers and body leave together
    disable_nagle_algorithm = True

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        self._answer(self._post)

    def _answer(self, respond):
        length = self.headers.get("Content-Length", "")
        self._unread = int(length) if re.fullmatch(r"\d{1,18}", length) else None
        try:
            with self.server.backend.admission.place():
                body = respond()
                self.close_connection |= bool(self._unread)  # what a GET brought along
                self._send(200, body)
                self.wfile.flush()
        except ServingError as error:
            self._refuse(HTTP_STATUS.get(error.code, 500), str(error))
        except OSError:
            raise  # the connection is gone
        except Exception as error:  # a fault of ours is an answer too
            _log.exception("a request failed")
            self._refuse(500, f"{type(error).__name__}: {error}")

    def _refuse(self, status, message):
        self.close_connection = True
        self._send(status, json.dumps({"error": message}).encode())
        self.wfile.flush()
        left = min(self._unread or 0, _DISCARDED)
        while left > 0 and (chunk := self.rfile.read(min(left, 2**16))):
            left -= len(chunk)

    def _send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _match(self, pattern):
        matched = pattern.fullmatch(self.path)
        if not matched:
            raise ServingError(
                "INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path[:200]}"
            )
        name, number, what = matched.groups()
        model = self.server.backend.model(urllib.parse.unquote(name))
        return model, model.version(None if number is None else int(number)), what

    def _get(self):
        model, version, metadata = self._match(_GET)
        return _metadata(version, model.name) if metadata else _status(version)

    def _post(self):
        body = self._body()
        _, version, method = self._match(_POST)
        if method != "predict":
            raise ServingError("UNIMPLEMENTED", f"There is no {method} here, only predict.")
        backend = self.server.backend
        with backend.admission.worker(_QUEUE_S):
            document, name = _json.parse(body)
            arrays, by_rows = _json.arrays_of_request(document, version.signature(name).inputs)
            return _json.response(version.predict(name, arrays), by_rows)

    def _body(self):
        length, limit = self._unread, self.server.backend.limit
        if length is None or "Transfer-Encoding" in self.headers:
            raise ServingError("INVALID_ARGUMENT", "A request must state its Content-Length.")
        if length > limit:
            raise ServingError(
                "RESOURCE_EXHAUSTED",
                f"A request of {length:,} bytes is more than the {limit:,} allowed here",
            )
        body, self._unread = self.rfile.read(length), 0
        if len(body) < length:
            raise ServingError("INVALID_ARGUMENT", "The request ended before its Content-Length.")
        return body

    def log_message(self, *arguments):
        _log.debug(*arguments)


def _metadata(version, model_name):
    fields = json_format.MessageToDict(
        definitions(version),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    spec = {"name": model_name, "signature_name": "", "version": str(version.number)}
    return json.dumps({"model_spec": spec, "metadata": {"signature_def": fields}}).encode()


def _status(version):
    status = {"error_code": "OK", "error_message": ""}
    described = {"version": str(version.number), "state": "AVAILABLE", "status": status}
    return json.dumps({"model_version_status": [described]}).encode()
