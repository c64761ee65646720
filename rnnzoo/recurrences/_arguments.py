"""The tensors that a recurrence is given, checked before any computation."""

import tensorflow as tf


def checked(inputs, states, kernel, recurrent_kernel, bias, gates=1):
    """`[inputs, *states, kernel, recurrent_kernel, bias]` as tensors, zeros for no bias.

    Args:
        inputs: `[B, T, F]`, float32 or float64, the dtype of all.
        states: the initial states `[B, H]` by the names of their arguments.
        kernel: `[F, gates H]`. recurrent_kernel: `[H, gates H]`. bias: `[gates H]` or None.

    Raises:
        ValueError: For a shape or dtype that does not fit.
    """
    inputs = tf.convert_to_tensor(inputs)
    dtype = inputs.dtype
    if dtype not in (tf.float32, tf.float64) or inputs.shape.rank != 3:
        raise ValueError(
            "`inputs` must be a float32 or float64 tensor of shape [batch, time, features]. "
            f"Received: inputs of shape {inputs.shape} and dtype {dtype.name}"
        )
    recurrent_kernel = tf.convert_to_tensor(recurrent_kernel)
    shape = recurrent_kernel.shape
    if shape.rank != 2 or shape[1] != gates * shape[0]:
        columns = "units" if gates == 1 else f"{gates} * units"
        raise ValueError(
            f"`recurrent_kernel` must have the shape [units, {columns}]. "
            f"Received: recurrent_kernel.shape={shape}"
        )
    units, batch, width = shape[0], inputs.shape[0], shape[1]
    bias = tf.zeros([width], dtype) if bias is None else bias
    expected = [
        *((name, value, [batch, units]) for name, value in states.items()),
        ("kernel", kernel, [inputs.shape[2], width]),
        ("recurrent_kernel", recurrent_kernel, [units, width]),
        ("bias", bias, [width]),
    ]
    return [inputs, *(_fitting(dtype, *each) for each in expected)]


def _fitting(dtype, name, value, shape):
    value = tf.convert_to_tensor(value)
    if value.dtype != dtype:
        raise ValueError(
            f"`{name}` must have the dtype of `inputs`, {dtype.name}. "
            f"Received: {name}.dtype={value.dtype.name}"
        )
    if not value.shape.is_compatible_with(shape):
        raise ValueError(
            f"`{name}` must have the shape {shape}. Received: {name}.shape={value.shape}"
        )
    return value


def checked_mask(mask, inputs):
    """`mask` as a bool tensor `[B, T]`, or None."""
    return _booleans("mask", mask, inputs.shape[:2], "[batch, time]")


def checked_keep(name, keep, inputs):
    """`keep` as a bool tensor `[T]`, or None."""
    return _booleans(name, keep, inputs.shape[1:2], "[time]")


def _booleans(name, value, shape, axes):
    if value is None:
        return None
    value = tf.convert_to_tensor(value)
    if value.dtype != tf.bool or not value.shape.is_compatible_with(shape):
        raise ValueError(
            f"`{name}` must be a bool tensor of shape {shape}, {axes}. "
            f"Received: {name} of shape {value.shape} and dtype {value.dtype.name}"
        )
    return value
