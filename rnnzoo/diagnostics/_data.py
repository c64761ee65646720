"""What the diagnostics share: batches of data, and the loss of each step."""

import keras
import numpy as np
import tensorflow as tf


def batches(data, batch_size, targets=True):
    """The batches of `data` as `(x, y, weights or None)`.

    Args:
        data: A tuple of arrays `(x, y)` or `(x, y, weights)`, or an iterable of such batches, for
            example a `tf.data.Dataset`. With `targets=False` also x alone.
        batch_size: How many rows of the arrays make a batch.
    """
    if isinstance(data, (np.ndarray, tf.Tensor)):
        data = (data,)
    if isinstance(data, tuple):
        given = _cut_into_batches(data, batch_size)
    elif hasattr(data, "__iter__") and not isinstance(data, (str, dict)):
        given = data
    else:
        raise TypeError(
            "`data` must be a tuple of arrays (x, y) or an iterable of such batches. "
            f"Received: data of type {type(data).__name__}"
        )
    found = False
    for batch in given:
        found = True
        batch = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not (2 if targets else 1) <= len(batch) <= 3:
            raise ValueError(
                "`data` must hold (x, y) or (x, y, weights). "
                f"Received: {len(batch)} parts in a batch"
            )
        x, y, weights = (*batch, None, None)[:3]
        yield x, y, None if weights is None else np.asarray(weights, np.float64)
    if not found:
        raise ValueError("`data` must hold at least one batch. Received: data without any")


def _cut_into_batches(data, batch_size):
    data = data[:2] if len(data) == 3 and data[2] is None else data
    shapes = [tuple(getattr(part, "shape", ())) for part in keras.tree.flatten(data)]
    if () in shapes:
        kinds = [type(part).__name__ for part in data]
        raise TypeError(f"`data` must be a tuple of arrays. Received: a tuple of {kinds}")
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f"`data` must have as many rows in each array. Received: arrays of shapes {shapes}"
        )
    rows = shapes[0][0] if shapes else 0
    cuts = [slice(i, i + batch_size) for i in range(0, rows, batch_size)]
    return (keras.tree.map_structure(lambda a, c=c: a[c], data) for c in cuts)


def check_targets(y, expected):
    """Refuse targets without the axes of the outputs' rows and steps: a loss would broadcast."""
    y = tf.convert_to_tensor(y)
    if not y.shape[: len(expected)].is_compatible_with(expected):
        raise ValueError(
            f"The targets in `data` must begin with the axes {tuple(expected)} of the outputs. "
            f"Received: shape {tuple(y.shape)}"
        )
    return y


def step_loss(model, loss):
    """A function `(y, outputs) -> the loss of each step`, `[B, T]`; `[B]` where time is gone.

    Args:
        model: The model, whose compiled loss is taken where `loss` is None.
        loss: None, a Keras loss, its name, or a function of the same kind.
    """
    loss = getattr(model, "loss", None) if loss is None else loss
    if loss is None:
        raise ValueError("`loss` must be given for a model that is not compiled. Received: None")
    loss = keras.losses.get(loss)
    if not callable(loss):
        raise TypeError(f"`loss` must be one Keras loss. Received: loss={loss!r}")
    return loss.call if isinstance(loss, keras.losses.Loss) else loss


def check_steps(losses, expected):
    """Refuse a loss that does not give one value for each step."""
    if losses.shape.rank != len(expected) or not losses.shape.is_compatible_with(expected):
        raise ValueError(
            f"`loss` must give one value for each step, of shape {tuple(expected)}. "
            f"Received: a loss of shape {tuple(losses.shape)}"
        )
    return losses
