"""Initializers for long memory, for this package's layers and for Keras's own by themselves.

All draw in float32 and compute in float64. An integer seed gives the same values at every call,
None new ones each time (which follow `keras.utils.set_random_seed`).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks


@keras.saving.register_keras_serializable(package="rnnzoo")
class Chrono(keras.initializers.Initializer):
    r"""Gate biases of an LSTM or a GRU that spread the units' time scales over a range.

    $$u \sim U[t_{min}-1,\ t_{max}-1],\qquad \text{LSTM: } b_f=\log u,\ b_i=-\log u,\qquad
      \text{GRU: } b_z=\log u$$

    and zeros elsewhere. A gate $\sigma(\log u)=u/(1+u)$ keeps a state for $1+u$ steps on average,
    so the time scales are uniform from `t_min` to `t_max`. In Keras's GRU,
    $h_t=z\odot h_{t-1}+(1-z)\odot\tilde h_t$, so it is a large update gate $z$ that keeps.

    Args:
        units: Positive integer, the units H of the layer.
        t_max: Number of at least `t_min`: the longest time scale, in steps.
        t_min: Number above 1 (default 2, as published): the shortest.
        seed: Non-negative integer or None.

    Shapes: `[4H]` for a `keras.layers.LSTM` (or one of this package), which must have
    `unit_forget_bias=False`, because Keras asks no initializer for the forget gate otherwise;
    `[2, 3H]` for a `keras.layers.GRU` (the values stand in the input's bias), or `[3H]` with
    `reset_after=False`.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type, and for a bias
            of another shape.

    Source: Tallec and Ollivier, *Can recurrent neural networks warp time?* (2018).

    >>> import keras
    >>> import numpy as np
    >>> bias = Chrono(64, t_max=100, seed=1)
    >>> layer = keras.layers.LSTM(64, unit_forget_bias=False, bias_initializer=bias)
    >>> layer.build((None, None, 3))
    >>> scales = 1 + np.exp(layer.cell.bias.numpy()[64:128])
    >>> bool(2 <= scales.min() < 10 and 90 < scales.max() <= 100)
    True
    """

    def __init__(self, units: int, t_max: float, t_min: float = 2.0, seed: int | None = None):
        self.units = _checks.integer("units", units)
        self.t_min = _checks.real("t_min", t_min, 1.0, low_open=True)
        self.t_max = _checks.real("t_max", t_max, self.t_min)
        self.seed = _checks.optional_integer("seed", seed, minimum=0)

    def __call__(self, shape, dtype=None):
        units, shape = self.units, tuple(shape)
        # i, f, g, o = input, forget, candidate, output; z, r, g = update, reset, candidate
        gates = {(4 * units,): "ifgo", (3 * units,): "zrg", (2, 3 * units): "zrg"}.get(shape)
        if gates is None:
            raise ValueError(
                f"`shape` must be [{4 * units}] (LSTM with unit_forget_bias=False), "
                f"[2, {3 * units}] or [{3 * units}] (GRU), the biases of {units} units. "
                f"Received: shape={shape}"
            )
        u = uniform(units, self.seed)
        keep = np.log((self.t_min - 1.0) + u * (self.t_max - self.t_min))
        values = {"f": keep, "i": -keep, "z": keep}
        row = np.concatenate([values.get(gate, np.zeros(units)) for gate in gates])
        rows = [row, *(np.zeros_like(row) for _ in range(len(shape) - 1))]
        return _tensor(np.reshape(np.stack(rows), shape), dtype)

    def get_config(self):
        return {name: getattr(self, name) for name in ("units", "t_max", "t_min", "seed")}


class SquareBlocks(keras.initializers.Initializer):
    """Base: a square matrix, or several side by side as in a recurrent kernel, each drawn anew."""

    def __call__(self, shape, dtype=None):
        rows, columns = shape if len(shape) == 2 else (0, 0)
        if rows < 1 or columns < 1 or columns % rows:
            raise ValueError(
                "`shape` must be [n, n], or [n, k n] for k gates side by side. "
                f"Received: shape={tuple(shape)}"
            )
        gates = range(columns // rows)
        seeds = [None if self.seed is None else self.seed + gate for gate in gates]
        return _tensor(np.concatenate([self.matrix(rows, s) for s in seeds], axis=1), dtype)

    def matrix(self, n: int, seed: int) -> np.ndarray:
        """One float64 matrix `[n, n]`; defined by each initializer."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `matrix`.")


@keras.saving.register_keras_serializable(package="rnnzoo")
class Ring(SquareBlocks):
    r"""A real recurrent matrix whose eigenvalues are drawn from a ring, as those of an `LRU`.

    $$W = Q\,\mathrm{diag}(R_1,\dots,R_{n/2})\,Q^\top,\qquad
      R_j=r_j\begin{pmatrix}\cos\theta_j&-\sin\theta_j\\ \sin\theta_j&\cos\theta_j\end{pmatrix}$$

    with $r_j e^{\pm i\theta_j}$ uniform over the area of the ring and $Q$ a random orthogonal
    matrix. The matrix is normal: no state grows by more than `r_max` in a step. For an odd n one
    eigenvalue is alone, and so is a real one: $r_j$.

    Args:
        r_min, r_max: The ring, with 0 <= `r_min` <= `r_max` <= 1; defaults 0 and 1.
        max_phase: The largest angle, in (0, pi] (default pi); the other of a pair has its negative.
        seed: Non-negative integer or None.

    Shapes: `[n, n]`, or `[n, k n]` for the k gates of an LSTM or a GRU, a matrix each.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type, and for
            another shape.

    Source: the distribution of Orvieto et al., *Resurrecting Recurrent Neural Networks for Long
    Sequences* (2023), Lemma 3.2, as a real matrix.

    >>> import numpy as np
    >>> w = Ring(0.9, 0.99, seed=1)((8, 8)).numpy()
    >>> moduli = np.abs(np.linalg.eigvals(w))
    >>> bool(0.9 - 1e-6 < moduli.min() and moduli.max() < 0.99 + 1e-6)
    True
    """

    def __init__(
        self,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = np.pi,
        seed: int | None = None,
    ):
        self.r_max = _checks.real("r_max", r_max, 0.0, 1.0)
        self.r_min = _checks.real("r_min", r_min, 0.0, self.r_max)
        self.max_phase = _checks.real("max_phase", max_phase, 0.0, np.pi, low_open=True)
        self.seed = _checks.optional_integer("seed", seed, minimum=0)

    def matrix(self, n, seed):
        modulus, phase = draw_ring(-(-n // 2), self.r_min, self.r_max, self.max_phase, seed)
        if n % 2:
            phase[-1] = 0.0
        pairs = np.zeros([2 * len(modulus)] * 2)
        even = np.arange(0, len(pairs), 2)
        pairs[even, even] = pairs[even + 1, even + 1] = modulus * np.cos(phase)
        pairs[even + 1, even] = modulus * np.sin(phase)
        pairs[even, even + 1] = -pairs[even + 1, even]
        # A seed of its own: from the same one, Q would be a function of the moduli and phases.
        q = _values(keras.initializers.Orthogonal(seed=_another(seed)), (n, n))
        return q @ pairs[:n, :n] @ q.T

    def get_config(self):
        return {name: getattr(self, name) for name in ("r_min", "r_max", "max_phase", "seed")}


@keras.saving.register_keras_serializable(package="rnnzoo")
class TeacherEigenvalues(SquareBlocks):
    r"""A dense random matrix with its eigenvalues moved between `nu_0` and 1, as in the teacher.

    Entries $N(0, 1/n)$; then each eigenvalue $l$ becomes
    $(\nu_0+(1-\nu_0)\tanh|l|)\,e^{i\,\theta_0\arg(l)/\pi}$, its eigenvector as it is. The matrix
    is not normal: a state may grow before it decays.

    Args:
        nu_0: The smallest modulus, in [0, 1) (default 0).
        theta_0: The range of the angles, in [0, pi] (default pi: all). With a smaller one a
            negative eigenvalue keeps the real part of its new place, and may be below `nu_0`.
        seed: Non-negative integer or None.

    Shapes: `[n, n]`, or `[n, k n]` for the k gates of an LSTM or a GRU, a matrix each.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type, and for
            another shape.

    Source: Zucchet and Orvieto, *Recurrent neural networks: vanishing and exploding gradients are
    not the end of the story* (2024), section 5 and its published code.

    >>> import numpy as np
    >>> w = TeacherEigenvalues(0.9, seed=1)((8, 8)).numpy()
    >>> moduli = np.abs(np.linalg.eigvals(w))
    >>> bool(0.9 - 1e-5 < moduli.min() and moduli.max() < 1)
    True
    """

    def __init__(self, nu_0: float = 0.0, theta_0: float = np.pi, seed: int | None = None):
        self.nu_0 = _checks.real("nu_0", nu_0, 0.0, 1.0, high_open=True)
        self.theta_0 = _checks.real("theta_0", theta_0, 0.0, np.pi)
        self.seed = _checks.optional_integer("seed", seed, minimum=0)

    def matrix(self, n, seed):
        normal = keras.initializers.RandomNormal(0.0, 1.0 / np.sqrt(n), seed=seed)
        return moved_eigenvalues(_values(normal, (n, n)), self.nu_0, self.theta_0)

    def get_config(self):
        return {"nu_0": self.nu_0, "theta_0": self.theta_0, "seed": self.seed}


def moved_eigenvalues(a: np.ndarray, nu_0: float, theta_0: float) -> np.ndarray:
    """`a [n, n]` with its eigenvalues l at ``nu_0 + (1 - nu_0) tanh|l|``, angles ``theta_0 / pi``.

    With a range below pi, a negative eigenvalue would become a complex one without a partner. The
    real part of the matrix, as the published code takes it, leaves that one the real part of its
    place.
    """
    values, vectors = np.linalg.eig(a)
    moduli = nu_0 + (1 - nu_0) * np.tanh(np.abs(values))
    values = moduli * np.exp(1j * np.angle(values) * theta_0 / np.pi)
    return ((vectors * values) @ np.linalg.inv(vectors)).real


def draw_ring(
    n: int, r_min: float, r_max: float, max_phase: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """`n` eigenvalues uniform on a ring sector: float64 moduli and phases.

    |lambda| = sqrt(u (r_max^2 - r_min^2) + r_min^2) and phase = max_phase u', u and u' uniform in
    [0, 1).
    """
    u = uniform((2, n), seed)
    return np.sqrt(u[0] * (r_max**2 - r_min**2) + r_min**2), max_phase * u[1]


def uniform(shape: Sequence[int], seed: int) -> np.ndarray:
    """Uniform numbers in [0, 1), in float64."""
    return _values(keras.initializers.RandomUniform(0.0, 1.0, seed=seed), shape)


def _another(seed):
    """A seed far from `seed` and its neighbours, which other gates and heads take."""
    if seed is None:
        return None
    return int(np.random.SeedSequence([seed, 1]).generate_state(1)[0] >> 1)


def own_seed(initializer: keras.initializers.Initializer) -> int | None:
    """The integer seed that an initializer was given, else None."""
    seed = _config(initializer).get("seed")
    return seed if isinstance(seed, int) else None


def reseeded(
    initializer: keras.initializers.Initializer, seed: int
) -> keras.initializers.Initializer:
    """The same distribution with a seed of its own: one instance draws the same values again."""
    config = _config(initializer)
    if "seed" not in config or not isinstance(config["seed"], int | None):
        return initializer
    return type(initializer).from_config({**config, "seed": seed})


def _config(initializer):
    return initializer.get_config() if hasattr(initializer, "get_config") else {}


def _values(initializer, shape):
    shape = shape if isinstance(shape, tuple) else (shape,)
    with tf.init_scope():  # a layer may be built while its first call is traced
        drawn = initializer(shape, dtype="float32")
    return np.asarray(keras.ops.convert_to_numpy(drawn), np.float64)


def _tensor(values, dtype):
    return tf.constant(values, dtype=keras.backend.standardize_dtype(dtype))
