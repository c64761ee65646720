"""TCN at the published sizes."""

import keras
import numpy as np
import pytest

from rnnzoo.layers import TCN

# task: (features, outputs, kernel_size, levels, width, parameters published, to one digit)
PUBLISHED = {
    "adding": (2, 1, 8, 8, 24, 70_000),
    "mnist": (1, 10, 7, 8, 25, 70_000),
    "jsb": (88, 88, 3, 2, 150, 300_000),
    "nottingham": (88, 88, 6, 4, 150, 1_000_000),
}


@pytest.mark.parametrize("task", PUBLISHED)
def test_parameter_counts_round_to_the_published(task):
    features, outputs, size, levels, width, published = PUBLISHED[task]
    model = keras.Sequential(
        [
            keras.Input((None, features)),
            TCN(width, levels=levels, kernel_size=size, return_sequences=True),
            keras.layers.Dense(outputs),
        ]
    )
    # Two weight-normed convolutions a block, the 1x1 convolution of the first, and the head.
    inputs = [features] + [width] * (2 * levels - 1)
    expected = sum(size * c * width + 2 * width for c in inputs)
    expected += (features + 1) * width + (width + 1) * outputs
    assert model.count_params() == expected
    digits = len(str(published)) - 1
    assert round(model.count_params(), -digits) == published


def test_its_weights_begin_as_published():
    layer = TCN(64, levels=2, kernel_size=8, seed=1)
    layer.build([None, None, 64])
    for conv in layer.cell.convs:
        kernel = conv.effective_kernel().numpy()
        assert kernel.std() == pytest.approx(0.01, rel=0.02)
        assert abs(kernel.mean()) < 2e-4
    assert layer.cell.residual is None


def jsb(**options):
    """At the size for JSB: 88 -> 150 channels, then 150 -> 150, kernels of 3."""
    layer = TCN(150, levels=2, kernel_size=3, **options)
    layer.build([None, None, 88])
    return layer


def test_it_can_begin_as_torch_begins():
    layer = jsb(start="torch", seed=1)
    convs = [*layer.cell.convs, layer.cell.residual]
    fans = [3 * 88, *[3 * 150] * 3, 88]
    for conv, fan in zip(convs, fans, strict=True):
        bound = fan**-0.5
        for drawn in (conv.effective_kernel().numpy(), conv.bias.numpy()):
            assert 0.9 * bound < np.abs(drawn).max() <= bound * (1 + 1e-6)
            # A uniform distribution's; 150 draws of it are within 12 % of their deviation.
            assert drawn.std() == pytest.approx(
                bound / 3**0.5, rel=0.02 if drawn.ndim > 1 else 0.12
            )
        if conv.gain is not None:
            norm = np.sqrt((conv.kernel.numpy() ** 2).sum((0, 1)))
            np.testing.assert_allclose(conv.gain, norm, rtol=1e-5)
    assert convs[0].kernel.numpy().std() == pytest.approx(0.0355, abs=0.0005)
    biases = [conv.bias.numpy() for conv in convs]
    assert not np.array_equal(biases[1], biases[2])  # each draws its own
    again = jsb(start="torch", seed=1)
    for one, other in zip(layer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_its_older_start_stays():
    for conv in [*(layer := jsb(seed=1)).cell.convs, layer.cell.residual]:
        assert conv.kernel.numpy().std() == pytest.approx(0.01, rel=0.03)
        np.testing.assert_array_equal(conv.bias, np.zeros(150))
    config = layer.get_config()
    assert (config["start"], config["dropout_kind"]) == ("normal", "channel")
    # A file from before they were there.
    older = {k: v for k, v in config.items() if k not in ("start", "dropout_kind")}
    again = TCN.from_config(older)
    assert again.get_config() == config


def test_a_given_initializer_is_that_of_the_kernels_alone():
    layer = jsb(start="torch", kernel_initializer="ones")
    np.testing.assert_array_equal(layer.cell.convs[0].kernel, np.ones([3, 88, 150]))
    assert layer.cell.convs[0].bias.numpy().std() > 0.01
    again = TCN.from_config(jsb(start="torch").get_config())
    again.build([None, None, 88])
    assert again.cell.convs[1].kernel.numpy().std() == pytest.approx((3 * 450) ** -0.5, rel=0.02)


@pytest.mark.parametrize("kind", ["channel", "element"])
def test_what_dropout_drops(kind):
    rows, steps = 4, 50
    drop = jsb(dropout=0.3, dropout_kind=kind, seed=2).cell.dropouts[0]
    kept = drop(np.ones([rows, steps, 150], "float32"), training=True).numpy() != 0
    whole = (kept == kept[:, :1]).all(1)
    if kind == "channel":
        assert whole.all()
        assert 1 - kept[:, 0].mean() == pytest.approx(0.3, abs=0.08)  # 600 draws, 4 deviations
    else:
        assert not whole.any()
        assert 1 - kept.mean() == pytest.approx(0.3, abs=0.011)  # 30,000 draws


def test_dropout_of_elements_is_in_the_layer():
    x = np.random.default_rng(0).normal(size=(8, 40, 88)).astype("float32")
    for kind in ("channel", "element"):
        layer = jsb(start="torch", dropout=0.5, dropout_kind=kind, seed=2, return_sequences=True)
        changed = np.abs(layer(x, training=True) - layer(x)).mean(1) > 1e-3
        assert changed.mean() > 0.5
        assert isinstance(layer.cell.dropouts[1], keras.layers.Dropout)
        spatial = isinstance(layer.cell.dropouts[1], keras.layers.SpatialDropout1D)
        assert spatial == (kind == "channel")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "keras"}, "`start` must be one of 'normal', 'torch'.*start='keras'"),
        ({"dropout_kind": "time"}, "`dropout_kind` must be one of 'channel', 'element'"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        TCN(4, **options)
