"""The frames' likelihood; `tests/tasks/test_polyphonic_music.py` has it on rolls, padded."""

import numpy as np
import pytest

from rnnzoo.metrics import FrameLoss


def test_logits_far_out_cost_what_they_should():
    y = np.array([[[1.0, 0.0, 1.0, 0.0]]])
    logits = np.array([[[200.0, -200.0, -200.0, 200.0]]], np.float32)
    assert float(FrameLoss()(y, logits)) == pytest.approx(400, rel=1e-6)
