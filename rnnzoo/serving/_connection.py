"""Calls to a server, repeated while none answers and time is left."""

import time

from rnnzoo import _checks

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5


class Connection:
    """A transport, with the patience of `Stream`'s arguments `deadline` and `reconnect`.

    A call has no effect on the server, so that one whose answer was lost may be sent again.
    """

    def __init__(self, address, model, deadline, reconnect):
        self._deadline = _checks.real("deadline", deadline, 0.0, low_open=True)
        self._reconnect = _checks.real("reconnect", reconnect, 0.0)
        self.transport = _transport(address, model)

    def __call__(self, call):
        """`call(transport, timeout)`."""
        address = self.transport.address
        begin, pause = time.monotonic(), _FIRST_PAUSE_S
        while True:
            left = self._deadline - (time.monotonic() - begin)
            if left <= 0:
                raise TimeoutError(f"no answer of {address} in {self._deadline:g} s")
            try:
                return call(self.transport, left)
            except ConnectionError as error:
                passed = time.monotonic() - begin
                if passed + pause > min(self._reconnect, self._deadline):
                    raise ConnectionError(
                        f"no server answers at {address}, tried for {passed:.1f} s: {error}"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _transport(address, model):
    if not isinstance(address, str):
        raise TypeError(f"`address` must be a string. Received: address={address!r}")
    if address.startswith(("http://", "https://")):
        from rnnzoo.serving._rest_client import Rest

        return Rest(address, model)
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in address:
        raise ValueError(
            "`address` must be host:port for gRPC, or http://host:port for REST. "
            f"Received: address={address!r}"
        )
    try:
        from rnnzoo.serving._grpc_client import Grpc
    except ModuleNotFoundError as error:
        raise ImportError(
            f"gRPC needs {error.name}: pip install 'rnnzoo[serving]', or use http:// for REST"
        ) from error
    return Grpc(address, model)
