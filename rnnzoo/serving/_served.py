"""One version of a served model, as its client knows it."""

from rnnzoo.serving._specs import UNKNOWN
from rnnzoo.serving.errors import ServingError


class Served:
    """A version of `model` that can step.

    Args:
        connection: a `Connection`.
        model: the served model's name.
        version: the one asked for; None for the newest.

    Attributes:
        version: its number.
        states: `{name: Spec}` of the step's states; `inputs` of its other inputs.
    """

    def __init__(self, connection, model, version):
        self._connection, self._model = connection, model
        try:
            self.version, self._signatures = connection(lambda t, left: t.metadata(version, left))
        except ServingError as error:
            if error.code != "NOT_FOUND":
                raise
            name = model if version is None else f"{model}, version {version}"
            raise ValueError(
                f"`model` must be one that {connection.transport.address} serves: {error}. "
                f"Received: model={name}"
            ) from error
        self._check_signatures()
        inputs = self._signatures["step"].inputs
        self.states = {name: s for name, s in inputs.items() if name.startswith("state_")}
        self.inputs = {name: s for name, s in inputs.items() if name not in self.states}

    def _check_signatures(self):
        missing = {"step", "initial_state"} - set(self._signatures)
        if missing:
            raise ValueError(
                "`model` must have the signatures step and initial_state, as `rnnzoo export` gives "
                "to a model whose state can be carried. "
                f"Received: {self._model!r} with {', '.join(sorted(self._signatures))}"
            )
        step, initial = self._signatures["step"], self._signatures["initial_state"]
        states = {name for name in step.inputs if name.startswith("state_")}
        known = all(spec.dtype != UNKNOWN for spec in step.inputs.values())
        if (
            states != set(initial.outputs)
            or list(initial.inputs) != ["rows"]
            or not known
            or not {f"next_{name}" for name in states} <= set(step.outputs)
        ):
            raise ValueError(
                "`model` must step from the state_* that initial_state(rows) gives to next_state_*"
                f", in numbers. Received: {self._model!r} with {self._signatures}"
            )

    def call(self, name, arrays):
        """`{output: array}` of a signature, each of the shape that the signature says."""
        signature = self._signatures[name]
        try:
            found = self._connection(
                lambda t, left: t.predict(self.version, name, signature, arrays, left)
            )
        except ServingError as error:
            if error.code != "NOT_FOUND":
                raise
            raise ServingError(
                error.code,
                f"version {self.version} of {self._model!r}, on which this stream began, is served "
                f"no more; reset() begins anew on the newest. The server: {error}",
            ) from error
        count = len(next(iter(arrays.values())))
        for output, spec in signature.outputs.items():
            got = found.get(output)
            if got is None or not spec.takes(got.shape) or len(got) != count:
                shape = "missing" if got is None else list(got.shape)
                raise ServingError(
                    "INTERNAL", f"the server's {output!r} is not {count} rows of {spec}: {shape}"
                )
        return found
