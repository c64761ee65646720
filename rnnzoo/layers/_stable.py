"""What StableRNN and StableLSTM share: cells whose weights are projected, and their arguments."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.layers.constraints import Projection


class ProjectedFromBuild:
    """Mixin for a cell: weights under a `Projection` start projected, and none is ever rounded.

    Keras applies constraints after optimizer steps alone. `autocast` is off because a bound on the
    stored weights says nothing about their copies in half precision. Every weight without a
    projection is at least checked to be finite after each optimizer step.
    """

    def add_weight(self, *args, initializer=None, constraint=None, **kwargs):
        if isinstance(constraint, Projection):
            given = keras.initializers.get(initializer)

            def initializer(shape, dtype=None):
                return constraint(given(shape, dtype=dtype))
        else:
            constraint = _Finite(constraint)
        kwargs["autocast"] = False
        return super().add_weight(*args, initializer=initializer, constraint=constraint, **kwargs)


class _Finite(keras.constraints.Constraint):
    """A weight's constraint that stops training where the weight is not finite.

    It is no part of a configuration: the cell makes it for each weight again.
    """

    def __init__(self, then=None):
        self.then = then

    def __call__(self, w):
        w = tf.debugging.check_numerics(
            tf.convert_to_tensor(w),
            "A weight of a stable layer is not finite after an optimizer step. Lower the learning "
            "rate or clip the gradients.",
        )
        return w if self.then is None else self.then(w)


def refuse(kwargs, name, why, allowed=(None,)):
    """Take the argument `name` out of `kwargs`; a value beside `allowed` is an error."""
    value = kwargs.pop(name, None)
    if not any(type(value) is type(item) and value == item for item in allowed):
        options = " or ".join(repr(item) for item in allowed)
        raise ValueError(f"`{name}` must be {options}: {why}. Received: {name}={value!r}")


def stored_weights(layer, cell, *names):
    """The named weights of a built cell in float64; an error where one is not finite."""
    if not layer.built:
        raise ValueError(
            f"`contraction` must be asked of a layer that is built. Received: layer={layer.name!r}"
        )
    weights = [
        np.asarray(keras.ops.convert_to_numpy(getattr(cell, name)), np.float64) for name in names
    ]
    for name, value in zip(names, weights):
        if not np.isfinite(value).all():
            raise ValueError(f"`{name}` of {layer.name} is not finite: no contraction bound holds.")
    return weights
