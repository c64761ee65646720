"""TCN at the published sizes."""

import keras
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
