"""The curvature of a data set's loss: the Hessian, or its largest eigenpairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks, _keras
from rnnzoo._figures import new_figure
from rnnzoo.diagnostics import _data
from rnnzoo.diagnostics._gradient_gap import _gradient_function

LARGEST = 4096  # of a matrix that is made whole


class Hessian(NamedTuple):
    """Eigenpairs by falling modulus, how concentrated each vector is, and the matrix if made."""

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    concentration: np.ndarray
    matrix: np.ndarray | None
    weights: dict

    def plot(self, axes=None, **options):
        """Moduli of the eigenvalues, dark where concentrated, on `axes` or in a new figure."""
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        moduli = np.abs(self.eigenvalues)
        shown = np.flatnonzero(moduli)
        options = {"cmap": "viridis_r", "vmin": 0.0, "vmax": 1.0, **options}
        points = axes.scatter(shown + 1, moduli[shown], c=self.concentration[shown], **options)
        axes.figure.colorbar(points, ax=axes, label=r"concentration $\sum_j v_j^4$")
        axes.set(xlabel="rank", ylabel="|eigenvalue|", yscale="log")
        return axes.figure


def hessian(
    model: keras.Model,
    data: Iterable,
    loss: str | Callable | None = None,
    top: int | None = None,
    tolerance: float = 1e-6,
    seed: int = 0,
    batch_size: int = 32,
) -> Hessian:
    r"""The second derivatives of a data set's loss by all trainable weights, or their largest
    eigenpairs.

    $$H = \nabla_w^2 \frac{\sum_{n,t} a_{nt}\,\ell_{nt}}{\sum_{n,t} a_{nt}},\qquad
      H v_i = \mu_i v_i,\qquad c_i = \sum_j v_{ij}^4$$

    with the weights $a$ of `data`, or ones. The concentration $c_i$ of a unit eigenvector (its
    inverse participation ratio) is 1 where it lies on one coordinate and 1/P where it is spread
    evenly over all P; of a repeated eigenvalue the vectors, and so their concentrations, are not
    unique. The loss is differentiated twice, exactly; nothing is approximated but by rounding and,
    with `top`, by the tolerance of the Lanczos iteration. Dropout and detaching are off.

    Args:
        model: A Functional or Sequential model; its recurrent layers need not be of this package.
            For sharp spectra build it with `dtype="float64"`.
        data: `(x, y)` or `(x, y, weights)` of arrays, or an iterable of such batches. Weights
            `[B, T]` (`[B]` for a model whose output has no time axis). All batches are kept.
        loss: None (the compiled loss) or a Keras loss or its name, with one value for each step.
        top: None (default): the matrix and all its eigenpairs, for at most 4,096 weights; P
            products of H with a vector. An integer in [1, P): that many eigenpairs of largest
            modulus, by Lanczos iteration (`scipy.sparse.linalg.eigsh`) on such products.
        tolerance: Of the eigenvalues found with `top`, relative, positive.
        seed: Of the vector that the iteration starts with, an integer of at least 0.
        batch_size: Rows of the arrays that are run together.

    Returns:
        A `Hessian`, float64: `eigenvalues` `[K]` by falling modulus, `eigenvectors` `[P, K]`,
        `concentration` `[K]`, `matrix` `[P, P]` or None, `weights`, a dict from the path of each
        trainable weight to its slice of the P coordinates; `plot()`.

    Raises:
        ValueError, TypeError: For arguments out of range, a model with more weights than a matrix
            is made for, a layer whose `form` is a hand-written adjoint, which has no second
            derivative, and what `gradient_gap` refuses.
        scipy.sparse.linalg.ArpackNoConvergence: Where the iteration does not reach the tolerance.

    Source: Zucchet & Orvieto, *Recurrent neural networks: vanishing and exploding gradients are
    not the end of the story* (2024), section 5.

    Example:

    >>> import keras, numpy as np
    >>> rnn = keras.layers.SimpleRNN(1, "linear", use_bias=False)
    >>> model = keras.Sequential([keras.Input((None, 1)), rnn])
    >>> model.set_weights([np.array([[1.0]]), np.array([[0.0]])])  # h_2 = u x_2 + w u x_1
    >>> x, y = np.ones([1, 2, 1], "float32"), np.ones([1, 1], "float32")
    >>> hessian(model, (x, y), "mse").matrix.tolist()
    [[2.0, 2.0], [2.0, 2.0]]
    """
    tolerance = _checks.real("tolerance", tolerance, 0.0, low_open=True)
    seed = _checks.integer("seed", seed, minimum=0)
    batch_size = _checks.integer("batch_size", batch_size)
    loss = _data.step_loss(model, loss)
    _check_forms(model)
    weights, size = _coordinates(model)
    _check_size(size, top)
    product = _product(model, loss, list(_data.batches(data, batch_size)))
    if top is None:
        matrix = np.stack([product(row) for row in np.eye(size)])
        matrix = (matrix + matrix.T) / 2.0
        values, vectors = np.linalg.eigh(matrix)
    else:
        matrix = None
        values, vectors = _largest(product, size, top, tolerance, seed)
    order = np.argsort(-np.abs(values), kind="stable")
    values, vectors = values[order], vectors[:, order]
    return Hessian(values, vectors, np.sum(vectors**4, axis=0), matrix, weights)


def _check_forms(model):
    for layer in _keras.flat_layers(model):
        if getattr(layer, "form", "auto") not in ("auto", "plain", "autodiff"):
            raise ValueError(
                "`model` must have layers that can be differentiated twice. "
                f"Received: {layer.name!r} with form={layer.form!r}, a hand-written adjoint; "
                "give it form='plain'"
            )


def _coordinates(model):
    """The slice of each trainable weight in the flat vector of all, and its length."""
    slices, size = {}, 0
    for variable in model.trainable_variables:
        end = size + int(np.prod(variable.shape))
        slices[variable.path], size = slice(size, end), end
    if not size:
        raise ValueError(
            f"`model` must have trainable weights. Received: {model.name!r}, which has none"
        )
    return slices, size


def _check_size(size, top):
    if top is None:
        if size > LARGEST:
            raise ValueError(
                f"`top` must be given for a model of more than {LARGEST} weights. "
                f"Received: top=None, {size} weights"
            )
    elif _checks.integer("top", top) >= size:
        raise ValueError(
            f"`top` must be below the number of weights, {size}. Received: top={top!r}"
        )


def _product(model, loss, batches):
    """The function v -> H v, float64."""
    gradient = _gradient_function(model, loss)

    @tf.function(autograph=False, reduce_retracing=True)
    def of_batch(x, y, weights, vector):
        values = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as tape:
            slope, counted = gradient(x, y, weights)
            along = tf.reduce_sum(slope * vector)
        parts = tape.gradient(along, values, unconnected_gradients="zero")
        flat = [tf.reshape(tf.cast(tf.convert_to_tensor(p), tf.float64), [-1]) for p in parts]
        return tf.concat(flat, 0), counted

    def product(vector):
        vector = tf.constant(np.ravel(vector), tf.float64)
        found = [of_batch(x, y, weights, vector) for x, y, weights in batches]
        total = sum(float(counted) for _, counted in found)
        if not total:
            raise ValueError(
                "`data` must have weights that are not all 0. Received: their sum is 0"
            )
        return sum(part.numpy() for part, _ in found) / total

    return product


def _largest(product, size, top, tolerance, seed):
    from scipy.sparse.linalg import LinearOperator, eigsh

    start = np.random.default_rng(seed).normal(size=size)
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    return eigsh(operator, k=top, which="LM", v0=start, tol=tolerance)
