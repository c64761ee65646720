"""The arguments of the diagonal recurrences, checked before any computation."""

import tensorflow as tf

from rnnzoo.recurrences._packing import packing


def checked_state(inputs, initial_re, initial_im, lambda_re, lambda_im):
    """The four after `inputs [B, T, F]` as a list of tensors of its dtype."""
    if inputs.dtype not in (tf.float32, tf.float64):
        raise ValueError(
            f"`inputs` must be float32 or float64. Received: inputs.dtype={inputs.dtype.name}"
        )
    if inputs.shape.rank != 3:
        raise ValueError(
            f"`inputs` must have the shape [batch, time, features]. Received: shape={inputs.shape}"
        )
    values = (initial_re, initial_im, lambda_re, lambda_im)
    values = [tf.convert_to_tensor(v, inputs.dtype) for v in values]
    expect("lambda_re", values[2], [None])
    n = values[2].shape[0]
    if n is None or inputs.shape[2] is None:
        raise ValueError(
            "The last axis of `inputs` and of `lambda_re` must be known. Received: "
            f"inputs.shape={inputs.shape}, lambda_re.shape={values[2].shape}"
        )
    expect("lambda_im", values[3], [n])
    expect("initial_re", values[0], [inputs.shape[0], n])
    expect("initial_im", values[1], [inputs.shape[0], n])
    return values


def checked_projections(inputs, n, b, c, d):
    """`b [F, 2N]`, `c [2N, U]` and `d` (`[F]`, `[F, U]` or None) as tensors."""
    features = inputs.shape[2]
    b, c = tf.convert_to_tensor(b, inputs.dtype), tf.convert_to_tensor(c, inputs.dtype)
    expect("b", b, [features, 2 * n])
    expect("c", c, [2 * n, None])
    if d is not None:
        d = tf.convert_to_tensor(d, inputs.dtype)
        expect("d", d, [features, c.shape[1]] if d.shape.rank == 2 else [c.shape[1]])
        if d.shape.rank == 1:
            expect("d", d, [features])
    return b, c, d


def checked_mask(inputs, mask):
    """`mask` as a bool tensor `[B, T]`, or None."""
    if mask is None:
        return None
    mask = tf.convert_to_tensor(mask)
    if mask.dtype != tf.bool:
        raise ValueError(f"`mask` must be bool. Received: mask.dtype={mask.dtype.name}")
    expect("mask", mask, inputs.shape[:2])
    return mask


def checked_packing(inputs, mask):
    """How the real steps move to the front of each row, so that the recurrence needs no mask."""
    mask = checked_mask(inputs, mask)
    return None if mask is None else packing(mask)


def expect(name, tensor, shape):
    if not tensor.shape.is_compatible_with(shape):
        raise ValueError(
            f"`{name}` must have the shape {list(shape)}. Received: {name}.shape={tensor.shape}"
        )
