"""The convolution: its forms are one function; weight normalisation is what it says."""

import numpy as np
import pytest
import tensorflow as tf
from references.causal import convolution

from rnnzoo.layers import _causal_conv
from rnnzoo.layers._causal_conv import CausalConv, convolve

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("steps", "taps", "dilation"),
    [(9, 3, 2), (2, 3, 4), (1, 2, 5), (8, 2, 4), (7, 4, 1), (5, 1, 1)],
)
def test_every_form_gives_the_oracles_values_and_gradients(
    steps, taps, dilation, native, monkeypatch
):
    dtype = "float32" if native else "float64"
    if native and not _causal_conv._has_dilated_gradients(dtype):
        pytest.skip("TensorFlow without oneDNN has no gradient of a dilated convolution")
    monkeypatch.setattr(_causal_conv, "_has_dilated_gradients", lambda dtype: native)
    x, kernel = RNG.normal(size=[2, steps, 3]), RNG.normal(size=[taps, 3, 4])
    weight, bias = RNG.normal(size=[2, steps, 4]), np.zeros(4)
    span = (taps - 1) * dilation
    tensors = [tf.constant(a, dtype) for a in (np.pad(x, [(0, 0), (span, 0), (0, 0)]), kernel)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        y = convolve(*tensors, dilation)
        loss = tf.reduce_sum(y * tf.constant(weight, dtype))
    bound = {"atol": 1e-12} if dtype == "float64" else {"atol": 1e-5, "rtol": 1e-5}
    np.testing.assert_allclose(y, convolution(x, kernel, None, bias, dilation), **bound)
    d_x, d_kernel = tape.gradient(loss, tensors)
    # The function is linear in each argument: a gradient is its value on unit arrays.
    for j in range(taps):
        unit = np.zeros_like(kernel)
        unit[j, 1, 2] = 1.0
        expected = (convolution(x, unit, None, bias, dilation) * weight).sum()
        np.testing.assert_allclose(d_kernel[j, 1, 2], expected, **bound)
    for t in range(steps):
        unit = np.zeros_like(x)
        unit[1, t, 2] = 1.0
        expected = (convolution(unit, kernel, None, bias, dilation) * weight).sum()
        np.testing.assert_allclose(d_x[1, span + t, 2], expected, **bound)


def test_tensorflow_is_asked_whether_it_differentiates_a_dilated_convolution():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU differentiates it in every type")
    assert not _causal_conv._has_dilated_gradients("float64")
    inside = tf.function(lambda x: x + float(_causal_conv._has_dilated_gradients("float16")))
    assert inside(tf.constant(0.0)) == 0.0


def normed():
    layer = CausalConv(4, kernel_size=3, dilation=2, weight_norm=True, dtype="float64")
    layer.build((None, None, 3))
    return layer


def test_weight_normalisation_begins_as_the_kernel_is():
    layer = normed()
    kernel = layer.kernel.numpy()
    np.testing.assert_allclose(layer.gain, np.sqrt((kernel**2).sum((0, 1))), rtol=1e-14)
    np.testing.assert_allclose(layer.effective_kernel(), kernel, rtol=1e-14)


def test_gain_alone_is_the_norm_and_the_kernels_gradient_is_at_right_angles_to_it():
    layer, x = normed(), tf.constant(RNG.normal(size=[2, 9, 3]))
    layer.gain.assign([1.0, -2.0, 0.5, 3.0])
    before = layer(x)
    layer.kernel.assign(layer.kernel * [1.0, 7.0, 0.1, 3.0])
    np.testing.assert_allclose(layer(x), before, atol=1e-12)
    norms = tf.norm(tf.reshape(layer.effective_kernel(), [-1, 4]), axis=0)
    np.testing.assert_allclose(norms, [1.0, 2.0, 0.5, 3.0], rtol=1e-12)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 3)
    gradient = tape.gradient(loss, layer.kernel.value).numpy()
    assert np.abs(gradient).max() > 0.1
    along = (gradient * layer.kernel.numpy()).sum((0, 1))
    np.testing.assert_allclose(along, 0.0, atol=1e-10 * np.abs(gradient).max())


def test_a_zero_kernel_stays_finite():
    layer, x = normed(), tf.ones([1, 6, 3], tf.float64)
    layer.kernel.assign(np.zeros([3, 3, 4]))
    with tf.GradientTape() as tape:
        y = layer(x)
    assert not y.numpy().any()
    gradients = tape.gradient(y, [layer.kernel.value, layer.gain.value])
    assert all(np.isfinite(g).all() for g in gradients)
