"""The experiment on the speed of feed-forward models, at its smallest."""

import io

import keras
import pytest
import rich.console

from rnnzoo import experiments, layers
from rnnzoo.experiments.feedforward import speed


def reproduce(id, out, only=None):
    console = rich.console.Console(file=io.StringIO(), width=100)
    return experiments.reproduce(id, "smoke", out, only, console)


def test_speed_at_smoke_scale(tmp_path):
    record = reproduce("feedforward/speed", tmp_path, only="tcn")
    reproduce("feedforward/speed", tmp_path, only="stable_lstm")
    reproduce("feedforward/speed", tmp_path, only="transformer")
    record = reproduce("feedforward/speed", tmp_path, only="truncated")
    assert record["missing"] == ["gated_conv/k4"]
    found = record["summary"]
    # Gates: 4 kernels of 4 x 8, 8 x 8 and a bias. States: h and c. A window: 3 inputs of 4.
    assert found["stable_lstm"]["weight_bytes"] == 4 * 4 * 8 * (4 + 8 + 1)
    assert found["truncated/k4"]["weight_bytes"] == found["stable_lstm"]["weight_bytes"]
    assert found["stable_lstm"]["kept_bytes"] == 4 * 2 * 8
    assert found["truncated/k4"]["kept_bytes"] == 4 * 3 * 4
    assert found["transformer/k4"]["kept_bytes"] == 4 * 3 * 4
    # Width 4: entry, 8 positions, four matrices and biases, a pair by way of 16, three norms.
    assert found["transformer/k4"]["parameters"] == 20 + 32 + 80 + 80 + 68 + 24
    assert found["tcn/k4"]["receptive_field"] == 5
    assert found["tcn/k4"]["parameters"] == pytest.approx(416, rel=0.15)
    assert all(entry["latency_seconds"] > 0 for entry in found.values())
    assert "| tcn/k4 | " in (tmp_path / "table.md").read_text()


def test_convolutions_cover_k_with_the_nearest_width():
    for k in (2, 4, 5, 16, 64, 256):
        levels, taps = speed._taps("tcn", k)
        assert layers.TCN(2, levels, taps).receptive_field >= k
        assert levels == 1 or layers.TCN(2, levels - 1, taps).receptive_field < k
        levels, taps = speed._taps("gated_conv", k)
        assert k <= layers.GatedConv(2, levels, taps).receptive_field <= k + 1

    def make(width):
        return keras.layers.SimpleRNN(width)

    width = speed._nearest_width(make, 3, 100)
    sizes = {w: abs(w * w + 4 * w - 100) for w in range(1, 20)}
    assert width == min(sizes, key=sizes.get)
