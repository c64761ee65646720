"""A stream of steps through a served model: the server computes, the client keeps the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnzoo import _checks
from rnnzoo.serving._connection import Connection
from rnnzoo.serving._served import Served


class Stream:
    r"""One or many sequences, sent step by step to an exported model on a server.

    $$(y_t, s_t) = \mathrm{step}(x_t, s_{t-1}),\qquad s_0 = \mathrm{initial\_state}$$

    Args:
        address: ``"host:port"`` for gRPC; ``"http://host:port"`` or ``"https://..."`` for REST.
        model: the served model's name.
        rows: how many sequences, at least 1 (default 1); one call steps them all.
        version: which version of the model; None (default): the newest at the time of opening.
        deadline: seconds, above 0, that one `send` may take, reconnecting included (default 10).
        reconnect: seconds, from 0, to go on trying while no server answers (default 2).

    Attributes:
        version: the version in use. A state means nothing to other weights, so a stream stays with
            the version that it began on, until `reset()` of all its rows.

    The server keeps nothing between calls, so a call that was lost is sent again without harm, to
    any server of the same model. The state moves on only when an answer has arrived. Works with
    TensorFlow Serving and with `rnnzoo serve`. One thread at a time; environment proxies are not
    used. A model of several inputs takes a dict of them, one of several outputs returns one.

    Raises:
        TypeError, ValueError: an argument is wrong, or the model has no `step` of this kind.
        ConnectionError: no server answers.
        TimeoutError: the deadline has passed.
        ServingError: the server refuses a call; the message is its own.

    Example (a server is `rnnzoo serve DIR` elsewhere; here it lives in the same process):

    >>> import pathlib, tempfile, keras, rnnzoo, tensorflow as tf
    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4)])
    >>> x = tf.random.normal([2, 5, 3])  # two sequences of five steps
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     served = pathlib.Path(folder) / "gru"
    ...     _ = rnnzoo.export.export_model(model, served, check=False)
    ...     with rnnzoo.serving.Server(served) as server:
    ...         with Stream(server.grpc_address, "gru", rows=2) as stream:
    ...             for t in range(5):
    ...                 y = stream.send(x[:, t])
    >>> bool(tf.reduce_max(tf.abs(y - model(x))) < 1e-5)
    True
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        rows: int = 1,
        version: int | None = None,
        deadline: float = 10.0,
        reconnect: float = 2.0,
    ):
        self.rows = _checks.integer("rows", rows)
        self._wanted = _checks.optional_integer("version", version)
        if not isinstance(model, str) or not model:
            raise TypeError(f"`model` must be a name. Received: model={model!r}")
        self.model = model
        self._connection = Connection(address, model, deadline, reconnect)
        try:
            self.reset()
        except BaseException:
            self.close()
            raise

    @property
    def version(self):
        return self._served.version

    @property
    def state(self):
        """The state after the last step, `{name: [rows, N]}`; assign one to go on from there."""
        return {name: value.copy() for name, value in self._state.items()}

    @state.setter
    def state(self, state):
        specs = self._served.states
        if not isinstance(state, dict) or set(state) != set(specs):
            raise ValueError(
                f"`state` must be a dict of {', '.join(specs)}. Received: state={state!r}"
            )
        self._state = {n: _array(n, state[n], spec, self.rows) for n, spec in specs.items()}

    def send(self, x: Any, rows: Sequence[int] | None = None) -> dict[str, np.ndarray] | np.ndarray:
        """Send one step and return its outputs, `[n, ...]`.

        Args:
            x: `[n, F]` (`[n]` for tokens), or `{name: array}` where the model has several inputs.
            rows: which sequences it is for, as distinct indices; None (default) for all. The others
                keep their state.
        """
        chosen = self._chosen(rows)
        given = self._inputs(x, len(chosen))
        state = {name: value[chosen] for name, value in self._state.items()}
        found = self._served.call("step", {**given, **state})
        for name, value in self._state.items():
            value[chosen] = found.pop(f"next_{name}")
        return next(iter(found.values())) if len(found) == 1 else found

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew with the zero state: these rows, or all, and then on the newest version."""
        whole = rows is None
        chosen = self._chosen(rows)
        served = Served(self._connection, self.model, self._wanted) if whole else self._served
        found = served.call("initial_state", {"rows": np.zeros([len(chosen)], "int32")})
        if whole:
            self._served = served
            self._state = {name: np.array(value) for name, value in found.items()}
        else:
            for name, value in self._state.items():
                value[chosen] = found[name]

    def close(self) -> None:
        self._connection.transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _chosen(self, rows):
        if rows is None:
            return np.arange(self.rows)
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
            raise TypeError(f"`rows` must be a list of indices. Received: rows={rows!r}")
        distinct = len(np.unique(chosen)) == len(chosen)
        if chosen.min() < 0 or chosen.max() >= self.rows or not distinct:
            last = self.rows - 1
            raise ValueError(
                f"`rows` must be distinct indices from 0 to {last}. Received: rows={rows!r}"
            )
        return chosen

    def _inputs(self, x, count):
        specs = self._served.inputs
        if not isinstance(x, dict):
            if len(specs) != 1:
                names = ", ".join(specs)
                raise TypeError(f"`x` must be a dict of {names}. Received: x={type(x).__name__}")
            x = {next(iter(specs)): x}
        if set(x) != set(specs):
            raise ValueError(
                f"`x` must have the inputs {', '.join(specs)}. Received: {', '.join(x)}"
            )
        return {name: _array(name, x[name], spec, count) for name, spec in specs.items()}


def _array(name, value, spec, count):
    """`value` as an array of the input's type and shape; refused where that would change it."""
    array = np.asarray(value)
    wanted = np.dtype(spec.dtype)
    if array.dtype.kind not in {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[wanted.kind]:
        raise TypeError(f"`{name}` must be {spec}. Received: an array of {array.dtype}")
    if not spec.takes(array.shape) or len(array) != count:
        shape = [count, *spec.shape[1:]]
        raise ValueError(f"`{name}` must have the shape {shape}. Received: {list(array.shape)}")
    converted = array.astype(wanted)
    if wanted.kind in "iu" and not np.array_equal(converted, array):
        raise ValueError(f"`{name}` must fit into {spec.dtype}. Received: {array.dtype} values")
    return converted
