"""Recurrences as pure functions on tensors, each with a hand-written adjoint.

No layers, no variables, no state: tensors in, tensors out. Every recurrence takes

- ``inputs [B, T, F]`` and its initial state, with dynamic or static `B` and `T`;
- ``mask [B, T]`` (bool) or None: where False the step does not happen, so the state is carried;
- ``form``: ``"adjoint"`` (one reversed loop that computes only the pre-activation gradients, the
  weight gradients in one product after it; may be differentiated once), ``"xla"`` (the same,
  compiled by XLA; T must be known when the graph is made), ``"plain"`` (the forward loop alone,
  which TensorFlow differentiates as often as asked: for second derivatives, unusual activations
  and inference; ``"autodiff"`` is its older name), or ``"auto"``, which chooses between the first
  two;

and returns ``(outputs, final states...)``. Outputs at masked steps repeat the carried state.

Shape letters of the whole package: `B` batch, `T` time, `F` input features, `H` units, `N` state
size.
"""

from rnnzoo.recurrences._loops import SecondDerivativeError
from rnnzoo.recurrences.diagonal import diagonal, lru
from rnnzoo.recurrences.last_state import lru_last
from rnnzoo.recurrences.lstm import lstm
from rnnzoo.recurrences.simple_rnn import simple_rnn

__all__ = ["SecondDerivativeError", "diagonal", "lru", "lru_last", "lstm", "simple_rnn"]
