"""The figure of a run holds the run's numbers."""

import matplotlib.image
import numpy as np

from rnnzoo.training.curves import plot_curves

RECORD = {
    "settings": {"layer": "lstm", "units": 4},
    "task": {"name": "copy"},
    "epochs": 2,
    "monitor": "val_accuracy",
    "best": {"epoch": 2},
    "baseline": {"accuracy": 0.5, "loss": 1.0},
    "curve": {"loss": [2, 1], "val_loss": [2, 1], "accuracy": [0, 1], "val_accuracy": [0, 1]},
    "test": {"accuracy": 0.9, "loss": 1.1},
}


def test_a_figure_is_written_and_changes_with_the_numbers(tmp_path):
    first = matplotlib.image.imread(plot_curves(RECORD, tmp_path / "a.png"))
    again = matplotlib.image.imread(plot_curves(RECORD, tmp_path / "b.png"))
    changed = {**RECORD, "curve": {**RECORD["curve"], "val_loss": [2, 1.5]}}
    other = matplotlib.image.imread(plot_curves(changed, tmp_path / "c.png"))
    published = matplotlib.image.imread(
        plot_curves({**RECORD, "reference": 0.7}, tmp_path / "d.png")
    )
    np.testing.assert_array_equal(first, again)
    assert (first != published).any()
    assert (first != other).any()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "c.png", "d.png"]
