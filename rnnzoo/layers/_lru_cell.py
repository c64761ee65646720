"""LRUCell: the weights of a linear recurrent unit and one exact step of it."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo._checks import LRUOptions
from rnnzoo.layers import _eigenvalues
from rnnzoo.layers._linear import LinearCell
from rnnzoo.layers._recurrent import full_precision


@keras.saving.register_keras_serializable(package="rnnzoo")
class LRUCell(LinearCell):
    r"""One step of a linear recurrent unit, as the layer `LRU` takes many.

    $$h_t = \lambda \odot h_{t-1} + \gamma \odot B x_t,\qquad y_t = \Re[C h_t] + D x_t$$

    Args:
        units: As in `LRU`.
        **options_and_kwargs: `state_size`, `parametrization`, `normalization`, `r_min`, `r_max`,
            `max_phase` and `seed` as in `LRU`; `name`, `dtype`, `trainable`.

    Call with inputs `[B, F]` and states `[re h, im h]`, each `[B, N]`; returns the outputs
    `[B, units]` and the new states. Weights and states are float32 under mixed precision, whatever
    the outputs are.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type.

    Source: Orvieto et al., *Resurrecting Recurrent Neural Networks for Long Sequences* (2023).

    >>> import numpy as np
    >>> cell = LRUCell(3, state_size=4)
    >>> y, states = cell(np.ones([2, 5], "float32"), cell.get_initial_state(2))
    >>> y.shape, len(states), states[0].shape
    (TensorShape([2, 3]), 2, TensorShape([2, 4]))
    """

    def __init__(self, units, **options_and_kwargs):
        options = LRUOptions.out_of(options_and_kwargs)
        super().__init__(units, options.state_size, options.seed, **options_and_kwargs)
        self.parametrization = options.parametrization
        self.normalization = options.normalization
        self.options = options
        self.state_size = [self.n, self.n]
        self._formula = _eigenvalues.PARAMETRIZATIONS[options.parametrization]

    def build(self, input_shape):
        features = self._features(input_shape)
        n, units, ring = self.n, self.units, self.options
        modulus, phase = _eigenvalues.draw_ring(
            n, ring.r_min, ring.r_max, ring.max_phase, self._seed(0), self.variable_dtype
        )
        values = self._formula.encode(modulus, phase)
        constraints = self._formula.constraints(self.variable_dtype)
        for name, value, constraint in zip(self._formula.names, values, constraints):
            setattr(self, name, self._weight(name, value.shape, _given(value), constraint))
        if self.normalization == "learned":
            gamma_log = 0.5 * np.log1p(-(modulus**2))
            self.gamma_log = self._weight("gamma_log", (n,), _given(gamma_log))
        self.B_re = self._normal("B_re", (n, features), 0.5 / features, 1)
        self.B_im = self._normal("B_im", (n, features), 0.5 / features, 2)
        self.C_re = self._normal("C_re", (units, n), 1.0 / n, 3)
        self.C_im = self._normal("C_im", (units, n), 1.0 / n, 4)
        self.D = self._skip(features, 5)

    def eigenvalue_weights(self):
        """The weights that stand for lambda, in the order of the parametrization."""
        if not self.built:
            raise ValueError(f"{self.name} must be built before its eigenvalues can be asked for.")
        return [getattr(self, name) for name in self._formula.names]

    def eigenvalues(self):
        """lambda as a complex128 NumPy array `[N]`, computed in float64 from the weights."""
        weights = [
            np.asarray(keras.ops.convert_to_numpy(w), np.float64) for w in self.eigenvalue_weights()
        ]
        re, im, _ = self._formula.decode(np, *weights)
        return re + 1j * im

    def moduli(self):
        """Upper bounds of |lambda| `[N]`, both of the weights and of lambda as it is rounded."""
        re, im, _ = self._decode()
        rounded = np.hypot(*(np.asarray(v, np.float64) for v in (re, im)))
        # Another device may round the exponential and the cosine in another way.
        slack = 4.0 * float(np.finfo(self.state_dtype).eps)
        return np.maximum(np.abs(self.eigenvalues()), rounded) * (1.0 + slack)

    def contraction(self):
        """An upper bound of max |lambda|."""
        return float(np.max(self.moduli()))

    def _decode(self):
        return self._formula.decode(
            tf.math, *(full_precision(w) for w in self.eigenvalue_weights())
        )

    def matrices(self):
        """(lambda_re, lambda_im, b, c, d) as `rnnzoo.recurrences.diagonal.lru` takes them."""
        lambda_re, lambda_im, remainder = self._decode()
        b_re, b_im, c_re, c_im, d = (
            full_precision(w) for w in (self.B_re, self.B_im, self.C_re, self.C_im, self.D)
        )
        b = tf.concat([tf.transpose(b_re), tf.transpose(b_im)], axis=1)
        if self.normalization == "learned":
            b *= tf.tile(tf.exp(full_precision(self.gamma_log)), [2])
        elif self.normalization == "fixed":
            b *= tf.tile(tf.sqrt(remainder), [2])
        c = tf.concat([tf.transpose(c_re), -tf.transpose(c_im)], axis=0)
        return lambda_re, lambda_im, b, c, d if d.shape.rank == 1 else tf.transpose(d)

    def call(self, inputs, states, training=False):
        x = tf.cast(inputs, self.state_dtype)
        re, im = (tf.cast(s, self.state_dtype) for s in states)
        lambda_re, lambda_im, b, c, d = self.matrices()
        z_re, z_im = tf.split(tf.matmul(x, b), 2, axis=1)
        new_re = lambda_re * re - lambda_im * im + z_re
        new_im = lambda_re * im + lambda_im * re + z_im
        skip = x * d if d.shape.rank == 1 else tf.matmul(x, d)
        outputs = tf.matmul(tf.concat([new_re, new_im], axis=1), c) + skip
        new = [tf.cast(v, s.dtype) for v, s in zip((new_re, new_im), states)]
        return tf.cast(outputs, self.compute_dtype), new

    def get_config(self):
        return {**super().get_config(), **self.options.as_dict()}


def _given(value):
    def initializer(shape, dtype=None):
        return tf.constant(value, dtype=dtype, shape=shape)

    return initializer
