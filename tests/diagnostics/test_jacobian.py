"""Jacobians over a distance, against differences, powers of eigenvalues and tapes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import diagnostics, layers
from rnnzoo.graphs import keep_masks

TIME = 5


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=[3, TIME, 2])


def test_an_lstm_against_differences(x):
    """A later start, rows that are masked within the distance, and h beside c."""
    rnn = keras.layers.LSTM(2, dtype="float64", name="rnn", return_state=True)
    inputs = keras.Input((None, 2), dtype="float64")
    model = keras.Model(inputs, rnn(keras.layers.Masking()(inputs))[0])
    masked = x.copy()
    masked[1, 2] = 0.0  # within
    masked[2, 4] = 0.0  # beyond
    found = diagnostics.jacobian(model, (masked, masked), [0, 2], start=1, batch_size=2)
    assert found.entries.shape == (2, 2, 4, 4)
    np.testing.assert_array_equal(found.entries[0], np.tile(np.eye(4), (2, 1, 1)))
    for row, at in ((0, 0), (2, 1)):
        state = np.concatenate(rnn(x[row : row + 1, :1])[1:], axis=-1)
        for j in range(4):
            ends = []
            for sign in (1, -1):
                moved = state + sign * 1e-6 * np.eye(4)[j]
                after = rnn(x[row : row + 1, 1:3], initial_state=np.split(moved, 2, axis=1))
                ends.append(np.concatenate(after[1:], axis=-1)[0])
            slope = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(found.entries[1, at, :, j], slope, rtol=1e-6, atol=1e-9)
    # h_0, c_0 and h_1, c_1: a unit's own entries are those of equal parity.
    parity = np.arange(4) % 2
    np.testing.assert_array_equal(found.same_unit, parity[:, None] == parity)
    own = found.entries[1][:, found.same_unit]
    assert found.diagonal[1] == pytest.approx(np.sqrt(np.mean(own**2)))
    rest = found.entries[1][:, ~found.same_unit]
    assert found.off_diagonal[1] == pytest.approx(np.sqrt(np.mean(rest**2)))
    assert found.off_diagonal[0] == 0.0
    assert [line.get_label() for line in found.plot().axes[0].lines] == ["diagonal", "off-diagonal"]


def test_an_lru_has_powers_of_its_eigenvalues(x):
    rnn = layers.LRU(2, state_size=3, r_min=0.5, seed=1, name="rnn")
    model = keras.Sequential([keras.Input((None, 2)), rnn])
    found = diagnostics.jacobian(model, [x.astype("float32")], [1, 4])
    assert (found.off_diagonal == 0.0).all()
    for d, entries in zip(found.distance, found.entries):
        power = rnn.eigenvalues() ** d
        block = [[np.diag(power.real), -np.diag(power.imag)]]
        block += [[np.diag(power.imag), np.diag(power.real)]]
        np.testing.assert_allclose(entries[0], np.block(block), atol=1e-6)


def test_backwards_and_behind_another_layer(x):
    """The second layer reads the first one's outputs from their end."""
    first = keras.layers.SimpleRNN(2, return_sequences=True, dtype="float64", name="first")
    second = keras.layers.GRU(2, go_backwards=True, dtype="float64", name="second")
    model = keras.Sequential([keras.Input((None, 2), dtype="float64"), first, second])
    found = diagnostics.jacobian(model, x, 2, layer="second").entries[0]
    hidden = tf.reverse(first(x), [1])
    with tf.GradientTape() as tape:
        state = tf.zeros([3, 2], tf.float64)
        tape.watch(state)
        after = state
        for t in range(2):
            after = second.cell(hidden[:, t], [after])[0]
    np.testing.assert_allclose(found, tape.batch_jacobian(after, state), rtol=1e-10)


def test_stacked_cells_share_no_units(x):
    """h and c of an LSTM, then a GRU's h: as many units, and others; it reads the LSTM's."""
    cells = [keras.layers.LSTMCell(2), keras.layers.GRUCell(2)]
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.RNN(cells)])
    found = diagnostics.jacobian(model, x.astype("float32"), 2)
    units = np.array([0, 1, 0, 1, 2, 3])
    np.testing.assert_array_equal(found.same_unit, units[:, None] == units)
    assert np.abs(found.entries[0][:, 4:, :4]).min() > 0.0
    assert not found.entries[0][:, :4, 4:].any()


def test_bad_input(x):
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.SimpleRNN(1, name="rnn")])
    with pytest.raises(ValueError, match=r"`distance` .* Received: distance=-1"):
        diagnostics.jacobian(model, x, [0, -1])
    with pytest.raises(ValueError, match=r"`distance` must hold at least one"):
        diagnostics.jacobian(model, x, [])
    with pytest.raises(ValueError, match=r"at most the number of steps, 5, together. Received: 6"):
        diagnostics.jacobian(model, x, 4, start=2)
    with pytest.raises(ValueError, match=r"`layer` must be one of .* layer='gru'"):
        diagnostics.jacobian(model, x, 1, layer="gru")
    two = [keras.layers.SimpleRNN(1, return_sequences=True, name=name) for name in "ab"]
    keep_masks(two[0])
    stacked = keras.Sequential([keras.Input((None, 2)), keras.layers.Masking(), *two])
    with pytest.raises(ValueError, match=r"`layer` must name one of .*\['a', 'b'\]"):
        diagnostics.jacobian(stacked, x, 1)
    with pytest.raises(ValueError, match="a row whose first 3 steps are not masked"):
        diagnostics.jacobian(stacked, np.zeros_like(x), 3, layer="b")
