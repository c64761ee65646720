"""What every layer over time does with a mask, in one place."""

import tensorflow as tf


def step_mask(mask):
    """`mask`, as Keras may hand it over, as bool `[B, T]`; None stays None.

    Keras gives a list where there are states beside the sequence, and an axis more where the mask
    is one of features.
    """
    if mask is None:
        return None
    mask = tf.cast(tf.nest.flatten(mask)[0], tf.bool)
    return mask[..., 0] if mask.shape.rank == 3 else mask


def check_mask(layer, mask, shape):
    """Refuse a mask that does not fit the first two axes of `shape`, by the name of the layer."""
    if mask is None:
        return
    received, expected = tf.nest.flatten(mask)[0].shape, tuple(shape[:2])
    if len(received) not in (2, 3) or not compatible(received[:2], expected):
        raise ValueError(
            f"`mask` of {layer.name} must have the shape [batch, time] of the sequences, "
            f"{expected}. Received: mask.shape={tuple(received)}"
        )


def compatible(received, expected):
    """Whether two shapes may be the same, where None is a size that is not known yet."""
    pairs = zip(received, expected, strict=True)
    return all(r is None or e is None or r == e for r, e in pairs)


def processed(sequences, mask, go_backwards):
    """`sequences [B, T, ...]` and `mask [B, T]` in the order in which a layer takes the steps."""
    if not go_backwards:
        return sequences, mask
    return tf.reverse(sequences, [1]), None if mask is None else tf.reverse(mask, [1])


def shown(mask, zero_output_for_mask):
    """Where Keras shows an output: from the first real step on, or at real steps alone."""
    if zero_output_for_mask:
        return mask
    return tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0


def shown_last(mask, zero_output_for_mask):
    """`shown` at the last step of each row, `[B]`."""
    return tf.reduce_any(mask[:, -1:] if zero_output_for_mask else mask, axis=1)


def real_steps(x, mask):
    """`x [B, T, F]` with zeros at masked steps: a NaN there must not reach a weight's gradient."""
    return x if mask is None else tf.where(mask[..., None], x, tf.zeros_like(x))
