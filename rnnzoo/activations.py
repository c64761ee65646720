r"""What is known of Keras's activations: one table that recurrences, layers and certificates read.

For an activation $\rho$ that is in the table `FACTS`, `tests/test_activations.py` measures each
fact. An activation without an entry may be anything: nothing is assumed of it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

_act = keras.activations


class Facts(NamedTuple):
    r"""What is known of one activation $\rho$.

    `lipschitz` is the least upper bound of the norm of its Jacobian, rounded up, in the 2-norm and
    in the sup-norm; None where there is none. `bound` is that of its values'
    size. `elementwise` says that it acts on each unit alone. `slope_of_output` gives $\rho'(a)$
    from $y = \rho(a)$, so that `a` need not be kept; None where only `a` tells it.
    """

    lipschitz: float | None
    bound: float = math.inf
    elementwise: bool = True
    slope_of_output: Callable | None = None


FACTS = {
    _act.celu: Facts(1.0),
    _act.elu: Facts(1.0),
    _act.exponential: Facts(None),
    _act.gelu: Facts(1.128905),  # at sqrt(2)
    _act.hard_sigmoid: Facts(1.0 / 6.0, 1.0),
    _act.hard_silu: Facts(1.5),  # at 3 from below
    _act.hard_tanh: Facts(1.0, 1.0),
    _act.leaky_relu: Facts(1.0),
    _act.linear: Facts(1.0, slope_of_output=tf.ones_like),
    _act.log_sigmoid: Facts(1.0),
    _act.mish: Facts(1.088500),  # at 1.49
    _act.relu: Facts(1.0, slope_of_output=lambda y: tf.cast(y > 0.0, y.dtype)),
    _act.relu6: Facts(1.0, 6.0),
    _act.selu: Facts(1.758100),  # scale * alpha, at 0 from below
    _act.sigmoid: Facts(0.25, 1.0, slope_of_output=lambda y: y * (1.0 - y)),
    _act.silu: Facts(1.099840),
    # Its Jacobian is diag(p) - p p'.
    _act.softmax: Facts(0.5, 1.0, elementwise=False),
    _act.soft_shrink: Facts(1.0),
    _act.softplus: Facts(1.0),
    _act.softsign: Facts(1.0, 1.0),
    _act.sparse_plus: Facts(1.0),
    _act.sparse_sigmoid: Facts(0.5, 1.0),
    _act.squareplus: Facts(1.0),
    _act.tanh: Facts(1.0, 1.0, slope_of_output=lambda y: 1.0 - tf.square(y)),
    _act.tanh_shrink: Facts(1.0),
}
_UNKNOWN = Facts(None, elementwise=False)


def facts(activation: Callable) -> Facts:
    """The facts of an activation; those of an activation without an entry promise nothing."""
    return FACTS.get(activation, _UNKNOWN)


def named(condition: Callable[[Facts], bool]) -> list[str]:
    """The names, sorted, of the activations whose facts fulfil a condition."""
    return sorted(function.__name__ for function, known in FACTS.items() if condition(known))


def slopes_of_inputs(activation: Callable, a: tf.Tensor) -> tf.Tensor:
    """The slopes at `a` of an activation that acts on each unit alone, by differentiation."""
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = activation(a)
    return tape.gradient(y, a)
