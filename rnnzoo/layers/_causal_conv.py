"""The one convolution under every causal feed-forward layer: dilated, optionally weight-normed."""

import functools

import keras
import tensorflow as tf


class CausalConv(keras.layers.Layer):
    r"""A dilated convolution over time that is given its past instead of padding.

    $$y_t = b + \sum_{j=0}^{k-1} x_{t-(k-1-j)d}\, W_j,\qquad
      W = g\, v / \lVert v\rVert\ \text{with weight normalisation}$$

    with the norm of each output channel over taps and input channels. `gain` starts at the norm
    of the first `v`, so that a network begins as it would without normalisation, and no data is
    needed to begin. `uniform_bias` starts the bias uniform within 1/sqrt(k channels), by
    `bias_seed`, instead of at zero.

    Called on `[B, span + T, channels]`, where `span` $=(k-1)d$ steps are the past, it returns
    `[B, T, filters]`.

    Keras 3.15 has no weight normalisation (its `SpectralNormalization` divides by the largest
    singular value, `UnitNormalization` normalises activations), hence the few lines here.
    """

    def __init__(
        self,
        filters,
        kernel_size=1,
        dilation=1,
        channels=None,
        weight_norm=False,
        kernel_initializer="glorot_uniform",
        uniform_bias=False,
        bias_seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.dilation = filters, kernel_size, dilation
        self.channels, self.weight_norm = channels, weight_norm
        self.kernel_initializer = kernel_initializer
        self.uniform_bias, self.bias_seed = uniform_bias, bias_seed
        self.span = (kernel_size - 1) * dilation

    def build(self, input_shape):
        self.channels = input_shape[-1]
        # No autocast: the norm is taken in full precision under mixed policies too.
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.channels, self.filters),
            initializer=self.kernel_initializer,
            autocast=False,
            name="kernel",
        )
        self.gain = None
        if self.weight_norm:
            self.gain = self.add_weight(
                shape=(self.filters,),
                initializer=lambda shape, dtype: _norm(tf.cast(self.kernel, dtype)),
                autocast=False,
                name="gain",
            )
        start = "zeros"
        if self.uniform_bias:
            bound = (self.kernel_size * self.channels) ** -0.5
            start = keras.initializers.RandomUniform(-bound, bound, seed=self.bias_seed)
        self.bias = self.add_weight(shape=(self.filters,), initializer=start, name="bias")

    def effective_kernel(self):
        """`W [kernel_size, channels, filters]`; an output channel whose `v` is zero has W = 0."""
        kernel = tf.convert_to_tensor(self.kernel)
        if self.weight_norm:
            kernel = tf.math.divide_no_nan(tf.convert_to_tensor(self.gain), _norm(kernel)) * kernel
        return kernel

    def call(self, x):
        kernel = tf.cast(self.effective_kernel(), x.dtype)
        return convolve(x, kernel, self.dilation) + tf.convert_to_tensor(self.bias)


def convolve(x, kernel, dilation):
    """`[B, span + T, C]` to `[B, T, filters]`, T at least 1: each form where it is the fastest.

    Tried on a CPU at the sizes of the TCN paper (25 channels, 784 steps; 150 channels, 160 steps):
    TensorFlow's dilated convolution was the fastest, most of all in training, a sum of shifted
    products the slowest, and the rows below lay between them.
    """
    taps, _, filters = kernel.shape
    if taps == 1:
        return tf.tensordot(x, kernel[0], 1)
    if x.shape[1] == (taps - 1) * dilation + 1:  # a single step: one product of its taps
        return tf.tensordot(x[:, ::dilation], kernel, [[1, 2], [0, 1]])[:, None]
    if dilation == 1 or _has_dilated_gradients(x.dtype.name):
        y = tf.nn.conv1d(x, kernel, 1, "VALID", dilations=dilation)
        # For an empty batch oneDNN returns the shape of its input.
        return tf.reshape(y, [tf.shape(x)[0], tf.shape(x)[1] - (taps - 1) * dilation, filters])
    return _convolve_rows(x, kernel, dilation)


def _convolve_rows(x, kernel, dilation):
    """The same without a dilated operation: rows of `dilation` steps, and columns convolved.

    Steps that a dilated kernel meets stand below each other: `[B, rows, dilation, C]`. Where
    there are fewer steps than columns, the columns that no step needs are left out.
    """
    taps, _, filters = kernel.shape
    batch, length = tf.shape(x)[0], tf.shape(x)[1]
    steps = length - (taps - 1) * dilation
    rows, columns = -(-length // dilation), tf.minimum(dilation, steps)
    x = tf.pad(x, [[0, 0], [0, rows * dilation - length], [0, 0]])
    x = tf.reshape(x, [batch, rows, dilation, x.shape[2]])[:, :, :columns]
    y = tf.nn.conv2d(x, kernel[:, None], 1, "VALID")
    return tf.reshape(y, [batch, (rows - taps + 1) * columns, filters])[:, :steps]


@functools.cache
def _has_dilated_gradients(dtype):
    """Whether TensorFlow can differentiate a dilated convolution here: on a CPU oneDNN can.

    It can in float32 and bfloat16; nothing can in float64 or float16, nor without oneDNN. The
    operation itself is asked, once.
    """
    with tf.init_scope():  # where no tape records
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=[1, 1, 4, 1],
                filter=tf.ones([1, 2, 1, 1], dtype),
                out_backprop=tf.ones([1, 1, 2, 1], dtype),
                strides=[1, 1, 1, 1],
                padding="VALID",
                dilations=[1, 1, 2, 1],
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


def _norm(kernel):
    """The norm of each output channel; its gradient is finite at zero."""
    squared = tf.reduce_sum(tf.square(kernel), axis=[0, 1])
    positive = squared > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, squared, 1.0)), 0.0)
