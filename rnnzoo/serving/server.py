"""A small server of exported models, for development and tests; in production, TensorFlow Serving.

It speaks TensorFlow Serving's Predict and GetModelMetadata over gRPC and REST, so that what works
against it works there. It has no batching, no authentication and no encryption.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Sequence

from rnnzoo import _checks
from rnnzoo._files import as_path
from rnnzoo.serving.errors import ServingError

_log = logging.getLogger(__name__)


class Server:
    """Serve the newest version in each of some folders, over gRPC and REST.

    Args:
        directories: folders as `rnnzoo.export_model` writes them, each with numbered versions; a
            model's name is its folder's.
        host: the address to listen on (default ``"127.0.0.1"``: this machine alone).
        grpc_port, rest_port: from 0 to 65535; 0 (default) takes a free one.
        max_bytes: the largest request, and the largest output, in bytes (default 16 MiB).
        queue: how many requests may wait, from 0 (default 64); further ones are refused at once.
        workers: how many compute at a time, at least 1 (default None: one for each core).
        poll: seconds, above 0, between two looks for new versions (default 1).

    Attributes:
        grpc_address, rest_address: what `Stream` takes.

    It starts at once and ends with `stop` or the `with` block. A new version is loaded, warmed up
    and then takes the place of the old one, whose requests in hand end as they began.

    Raises:
        TypeError, ValueError: an argument is wrong, or a folder has no version that loads.
        OSError: a port is taken.
    """

    def __init__(
        self,
        directories: Sequence[str | os.PathLike] | dict[str, str | os.PathLike],
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        rest_port: int = 0,
        max_bytes: int = 16 * 2**20,
        queue: int = 64,
        workers: int | None = None,
        poll: float = 1.0,
    ):
        ports = [_port("grpc_port", grpc_port), _port("rest_port", rest_port)]
        if not isinstance(host, str) or not host:
            raise TypeError(f"`host` must be an address. Received: host={host!r}")
        workers = _checks.optional_integer("workers", workers) or os.cpu_count() or 1
        queue = _checks.integer("queue", queue, 0)
        self._poll = _checks.real("poll", poll, 0.0, low_open=True)
        limit = _checks.integer("max_bytes", max_bytes)
        self._backend = _Backend(_models(directories, limit), limit, workers, queue)
        self._ended = threading.Event()
        with contextlib.ExitStack() as undo:
            self._start(host, *ports, undo)
            undo.pop_all()

    def _start(self, host, grpc_port, rest_port, undo):
        from rnnzoo.serving import _grpc_server, _rest_server

        self._grpc, port = _grpc_server.serve(host, grpc_port, self._backend)
        undo.callback(self._grpc.stop, 0)
        self.grpc_address = f"{host}:{port}"
        try:
            self._rest = _rest_server.RestServer(host, rest_port, self._backend)
        except OSError as error:
            raise OSError(f"REST cannot listen on {host}:{rest_port}: {error}") from error
        self.rest_address = f"http://{host}:{self._rest.server_address[1]}"
        threading.Thread(target=self._rest.serve_forever, args=(0.05,), daemon=True).start()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self):
        while not self._ended.wait(self._poll):
            for model in self._backend.models.values():
                try:
                    model.refresh()
                except OSError as error:  # a folder changed while it was read
                    _log.warning("%s: %s", model.folder, error)

    @property
    def versions(self):
        """`{model: number}` of what is served now."""
        return {name: m.version().number for name, m in self._backend.models.items()}

    def stop(self, drain: float = 10.0) -> None:
        """Refuse new requests, answer those in hand within `drain` seconds, and end.

        Returns:
            True if every request in hand was answered.
        """
        drain = _checks.real("drain", drain, 0.0)
        self._ended.set()
        self._backend.admission.close()
        stopped = self._grpc.stop(drain)
        self._rest.shutdown()
        empty = self._backend.admission.wait_until_empty(drain)
        stopped.wait()
        self._rest.server_close()
        self._watcher.join()
        return empty

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class _Backend:
    """What both protocols stand on."""

    def __init__(self, models, limit, workers, queue):
        from rnnzoo.serving._admission import Admission

        self.models = models
        self.limit = limit
        self.admission = Admission(workers, queue)
        self.connections = max(256, 2 * self.admission.places)

    def model(self, name):
        if name not in self.models:
            raise ServingError("NOT_FOUND", f"Servable not found for request: Latest({name[:200]})")
        return self.models[name]

    @contextlib.contextmanager
    def turn(self, timeout):
        with self.admission.place(), self.admission.worker(timeout):
            yield


def _models(directories, limit):
    try:
        from rnnzoo.serving._versions import Model
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the server needs {error.name}: pip install 'rnnzoo[serving]'"
        ) from error
    if not isinstance(directories, (list, tuple)):
        directories = [directories]
    models = {}
    for directory in directories:
        model = Model(as_path(directory), limit)
        if model.name in models:
            raise ValueError(
                "`directories` must have different names. "
                f"Received: {model.folder} and {models[model.name].folder}"
            )
        models[model.name] = model
        if not model.refresh():
            raise ValueError(
                "`directories` must each hold a version that loads, in a folder named by a number. "
                f"Received: {model.folder}"
            )
    if not models:
        raise ValueError("`directories` must name a folder. Received: none")
    return models


def _port(name, value):
    value = _checks.integer(name, value, 0)
    if value > 65535:
        raise ValueError(f"`{name}` must be at most 65535. Received: {name}={value}")
    return value
