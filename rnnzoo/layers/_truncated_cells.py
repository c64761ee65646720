"""One step of a recurrent layer's cell, for any number of rows: what truncation is built from.

A step object is made for one call of the layer and has two members:

- ``prepare(x [T, B, F]) -> z [T, B, G]``: all that can be computed for every input at once;
- ``step(z [R, G], states) -> (output [R, U], states)``: the rest, for R rows.

For the cells of Keras's LSTM, GRU and SimpleRNN and of our linear layers the input product is part
of `prepare`, because a window of k steps meets each input k times. Every other cell is called as it
is.
"""

import contextlib

import keras
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.layers._lru_cell import LRUCell
from rnnzoo.layers._recurrent import HALF_PRECISION, full_precision
from rnnzoo.layers._truncated_diagonal import LinearSteps, LRUBlockSteps, LRUSteps
from rnnzoo.layers.linear_rnn import LinearRNNCell
from rnnzoo.layers.lru_block import LRUBlockCell


def cell_steps(cell, training):
    """The step object for `cell`, whose dropout masks `[B, ...]` must already be drawn."""
    known = {
        keras.layers.LSTMCell: _LSTMSteps,
        keras.layers.GRUCell: _GRUSteps,
        keras.layers.SimpleRNNCell: _SimpleRNNSteps,
        LRUCell: LRUSteps,
        LRUBlockCell: LRUBlockSteps,
        LinearRNNCell: LinearSteps,
    }
    # A subclass may compute something else: only the very class is known.
    steps = known.get(type(cell))
    if steps is None or (training and _mixes_dropout(cell)):
        return CellSteps(cell, training)
    return steps(cell, training)


def output_size(cell):
    """The number of features of the cell's output, as `keras.layers.RNN` finds it."""
    size = getattr(cell, "output_size", None)
    return keras.tree.flatten(cell.state_size)[0] if size is None else size


def working_dtype(dtype):
    """The dtype of the state between steps: half precision would lose a long sum."""
    dtype = tf.as_dtype(dtype)
    return tf.float32 if dtype in HALF_PRECISION else dtype


def _mixes_dropout(cell):
    """Whether dropout enters a step elsewhere than as one mask on the inputs."""
    first_form = getattr(cell, "implementation", 2) == 1
    return getattr(cell, "recurrent_dropout", 0) or (first_form and cell.dropout)


class CellSteps:
    """Any cell, called as `keras.layers.RNN` calls it."""

    def __init__(self, cell, training):
        self.cell = cell
        self.dtype = working_dtype(cell.compute_dtype)
        takes_training = isinstance(cell, keras.Layer) and _keras.takes_training(cell)
        self.options = {"training": training} if takes_training else {}

    def prepare(self, x):
        return x

    def step(self, z, states, structure):
        if z.shape[0] == 0:  # no rows at all: Keras's own cells fail on them
            return tf.zeros([0, output_size(self.cell)], self.dtype), states
        cast = self.cell.compute_dtype
        states = keras.tree.pack_sequence_as(structure, [tf.cast(s, cast) for s in states])
        output, states = self.cell(tf.cast(z, cast), states, **self.options)
        states = keras.tree.flatten(states)
        return tf.cast(output, self.dtype), [tf.cast(s, self.dtype) for s in states]

    @contextlib.contextmanager
    def repeated(self, times):
        """Within: the cell's dropout masks serve `times` copies of the batch, one after another."""
        with contextlib.ExitStack() as stack:
            for cell in _leaves(self.cell):
                stack.enter_context(_keras.repeated_dropout_masks(cell, _repeater(times)))
            yield


class _KnownSteps:
    """A cell whose input product and bias go into `prepare`."""

    def __init__(self, cell, training):
        self.cell = cell
        self.dtype = working_dtype(cell.compute_dtype)
        self.dropout = training and cell.dropout
        self.kernel = full_precision(cell.kernel)
        self.recurrent_kernel = full_precision(cell.recurrent_kernel)
        self.bias = None if cell.bias is None else full_precision(cell.bias)

    def prepare(self, x):
        if self.dropout:  # the mask is drawn already: there is nothing to shape it by
            x *= tf.cast(self.cell.get_dropout_mask(None), x.dtype)
        z = tf.tensordot(x, self.kernel, 1)
        bias = self.input_bias()
        return z if bias is None else z + bias

    def input_bias(self):
        return self.bias

    @contextlib.contextmanager
    def repeated(self, times):
        yield  # the masks were used up in `prepare`


class _LSTMSteps(_KnownSteps):
    def step(self, z, states, structure):
        cell, (h, c) = self.cell, states
        z += tf.matmul(h, self.recurrent_kernel)
        # i, f, g, o = input gate, forget gate, candidate, output gate
        i, f, g, o = tf.split(z, 4, axis=-1)
        sigma = cell.recurrent_activation
        c = sigma(f) * c + sigma(i) * cell.activation(g)
        h = sigma(o) * cell.activation(c)
        return h, [h, c]


class _GRUSteps(_KnownSteps):
    def input_bias(self):
        after = self.bias is not None and self.cell.reset_after
        return self.bias[0] if after else self.bias

    def step(self, z, states, structure):
        cell, (h,), n = self.cell, states, self.cell.units
        # z, r, g = update gate, reset gate, candidate
        z_x, r_x, g_x = tf.split(z, 3, axis=-1)
        if cell.reset_after:
            inner = tf.matmul(h, self.recurrent_kernel)
            inner = inner if self.bias is None else inner + self.bias[1]
        else:
            inner = tf.matmul(h, self.recurrent_kernel[:, : 2 * n])
        update = cell.recurrent_activation(z_x + inner[:, :n])
        reset = cell.recurrent_activation(r_x + inner[:, n : 2 * n])
        if cell.reset_after:
            recurrent = reset * inner[:, 2 * n :]
        else:
            recurrent = tf.matmul(reset * h, self.recurrent_kernel[:, 2 * n :])
        h = update * h + (1 - update) * cell.activation(g_x + recurrent)
        return h, [h]


class _SimpleRNNSteps(_KnownSteps):
    def step(self, z, states, structure):
        h = self.cell.activation(z + tf.matmul(states[0], self.recurrent_kernel))
        return h, [h]


def _leaves(cell):
    return cell.cells if isinstance(cell, keras.layers.StackedRNNCells) else [cell]


def _repeater(times):
    return lambda mask: tf.tile(mask, [times, 1])
