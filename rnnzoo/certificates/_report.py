"""What `certify` and `verify` answer: small frozen objects with a readable form."""

from __future__ import annotations

import dataclasses
import io
import math

from rnnzoo import _checks


@dataclasses.dataclass(frozen=True)
class LayerCertificate:
    r"""What one call of a layer adds to the certificate of its model.

    Attributes:
        name, kind: Of the layer: its name, and its class.
        norm: The norm of its state in which it is measured: `"2"`, `"sup"`, or None where the layer
            has no state.
        contraction: $\lambda$, an upper bound of one step's gain; None without a state.
        steps: The first number of steps (up to 64) that contract together, None where none does.
        lipschitz: How much an error of its inputs can grow to in its outputs, over any number of
            steps, in `norm` (the 2-norm without a state); None for a layer of several inputs.
        start: The bound of the state that truncation sets to zero, in `norm`.
        k: The steps after which what is cut in this layer alone moves its outputs by at most
            epsilon.
        reason: Why nothing can be promised for it, or None.
    """

    name: str
    kind: str
    norm: str | None = None
    contraction: float | None = None
    steps: int | None = None
    lipschitz: float | None = None
    start: float | None = None
    k: int | None = None
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What `rnnzoo.certify` answers; `str()` is a table.

    Attributes:
        model: The model's name.
        layers: A tuple of `LayerCertificate`, from the first recurrent layer on.
        epsilon, input_bound: As they were given.
        k: The truncation length whose error is at most epsilon; None without epsilon or without a
            certificate.
        problem: Why the model has no certificate, by layer; None where it has one.
    """

    model: str
    layers: tuple
    epsilon: float | None
    input_bound: float | None
    k: int | None
    problem: str | None
    _outputs: tuple = dataclasses.field(repr=False, compare=False)

    def bound(self, k: int, norm: str = "sup") -> float:
        """The most by which an output, at any step, differs in the model truncated to `k` steps.

        `norm` is over the features of a step: `"sup"` (default) or `"2"`. Infinity where nothing is
        known; a finite bound also where there is no certificate, if growth stays finite.
        """
        k = _checks.integer("k", k)
        _checks.choice("norm", norm, ("sup", "2"))
        errors = [signal.error(k) for signal in self._outputs]
        return max(e.sup if norm == "sup" else e.two for e in errors)

    def to_dict(self) -> dict:
        """Everything but `bound`, in plain types."""
        names = ("model", "epsilon", "input_bound", "k", "problem")
        layers = [dataclasses.asdict(layer) for layer in self.layers]
        return {**{name: getattr(self, name) for name in names}, "layers": layers}

    def __str__(self):
        lines = [_table(self.layers)]
        lines += [f"{layer.name}: {layer.reason}." for layer in self.layers if layer.reason]
        if self.problem:
            lines.append(f"No certificate for {self.model}: {self.problem}.")
        elif self.k is not None:
            lines.append(
                f"With k = {self.k} no output of {self.model} is off by more than "
                f"{self.bound(self.k):.3g} (epsilon {self.epsilon:g})."
            )
        lines.append(
            "From a zero initial state, at inference, in exact arithmetic on the weights present"
            + ("" if self.input_bound is None else f", for inputs of at most {self.input_bound:g}")
            + ". An initial state outside the set voids it; one inside, before step k."
        )
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Verification:
    """What `rnnzoo.verify` answers; `str()` is a sentence.

    Attributes:
        k: The truncation length.
        worst: The largest difference of an output number between the two models.
        mean: The mean over rows and steps of each step's largest difference.
        bound: What the certificate promises for inputs of at most `input_bound`.
        input_bound: The size of the largest input, or the bound that was given.
    """

    k: int
    worst: float
    mean: float
    bound: float
    input_bound: float

    @property
    def ratio(self):
        """worst / bound: how tight the bound is; 0 where both are 0."""
        return self.worst / self.bound if self.bound else math.inf if self.worst else 0.0

    def to_dict(self) -> dict:
        return {**dataclasses.asdict(self), "ratio": self.ratio}

    def __str__(self):
        return (
            f"k = {self.k}: worst error {self.worst:.3g}, mean {self.mean:.3g}, "
            f"bound {self.bound:.3g} for inputs of at most {self.input_bound:.3g}"
        )


def _table(layers):
    import rich.console
    import rich.table

    table = rich.table.Table("layer", "class", "norm", "lambda", "Lipschitz", "start", "k")
    for layer in layers:
        values = (layer.contraction, layer.lipschitz, layer.start, layer.k)
        rate, lipschitz, start, k = ("" if v is None else f"{v:.6g}" for v in values)
        if layer.steps is not None and layer.steps > 1:
            rate += f" ({layer.steps} steps contract)"
        table.add_row(layer.name, layer.kind, layer.norm or "", rate, lipschitz, start, k)
    file = io.StringIO()
    rich.console.Console(file=file, width=100).print(table)
    return file.getvalue().rstrip("\n")
