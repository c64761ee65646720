"""TruncatedWrapper: any recurrent layer, cut to the last k steps."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks, _keras
from rnnzoo.layers import _masks
from rnnzoo.layers._recurrent import full_precision
from rnnzoo.layers._truncated_cells import cell_steps
from rnnzoo.layers._truncated_runs import Runs
from rnnzoo.layers.hdetach_lstm import HDetachLSTM
from rnnzoo.recurrences._packing import pack, packing, unpack
from rnnzoo.recurrences.lstm import lstm

MODES = ("window", "gradient", "chunk")


@keras.saving.register_keras_serializable(package="rnnzoo")
class TruncatedWrapper(keras.layers.Wrapper):
    r"""A recurrent layer whose outputs, or whose gradients, see the last `k` steps only.

    With $s_t = \phi(s_{t-1}, x_t)$ the wrapped layer's state, $y_t = g(s_{t-1}, x_t)$ its output,
    and $\perp$ the identity without gradient:

    - `"window"`: $s^k_{t-k} = s_0$ and $k$ steps from there. Every output is a function of
      $x_{t-k+1}, \dots, x_t$ alone: a feed-forward model of depth `k`.
    - `"gradient"`: the values of the full recurrence. Each output restarts its gradient from
      $\perp s_{t-k}$, so it reaches $x_{t-k+1}, \dots, x_t$ and no further.
    - `"chunk"`: the values of the full recurrence. $s_t$ is replaced by $\perp s_t$ after every
      $k$ steps, so the gradient of an output reaches back to the last multiple of $k$.

    With $s_0$ the layer's own initial state, zeros for every layer of Keras and of this package.
    `k=1` is no recurrence; with `k` above T every mode is the wrapped layer.

    Args:
        layer: A `keras.layers.RNN` or a subclass: LSTM, GRU, SimpleRNN, RNN over any cell or
            list of cells, and the recurrent layers of this package. Its weights are the
            wrapper's. `stateful`, `unroll` and `use_cudnn=True` are refused.
        k: Integer of at least 1: how many steps, counted without the masked ones.
        mode: `"window"` (default), `"gradient"` or `"chunk"`.
        **kwargs: `name`, `dtype` (default: the wrapped layer's), `trainable`.

    Inputs `[B, T, F]`; outputs `[B, U]`, or `[B, T, U]` where the wrapped layer has
    `return_sequences`, in the compute dtype; B and T may be unknown or 0. The state between steps
    is float32 under mixed precision.

    Masking: a masked step does not happen. It counts neither towards `k` nor towards a chunk; the
    output there is the previous one (zeros before the first real step, or everywhere masked if the
    wrapped layer has `zero_output_for_mask`).

    State: with the wrapped layer's `return_state` the final state is the one that the last output
    came from: in `"window"` that of the last window, in the other modes the full recurrence's,
    with the gradient that the last output has. `initial_state` is refused in `"window"`; in the
    other modes it gets the gradient of the outputs whose window (whose chunk) begins with it.

    Dropout: one mask per call and row for all windows, the one the wrapped layer would draw.
    `HDetachLSTM` detaches in `"chunk"` only; the other modes cut the gradient by distance, and its
    steps are plain LSTM steps there.

    Cost: `"chunk"` is one pass over T steps. With `return_sequences`, `"window"` does k steps for
    all B T windows together, k times the work of the layer, and training keeps the activations of
    all k: O(k B T H) memory; for LRU and its kin log k passes do, in O(B T N log k).
    `"gradient"` is k steps for all windows, after one pass without gradient. Without
    `return_sequences` only the last window is run: k steps of B rows.

    XLA: `keras.layers.LSTM` and `GRU` opt out of `compile(jit_compile=True)` unless they are made
    with `use_cudnn=False`, wrapped or not.

    Raises:
        TypeError: If `layer` is not a recurrent layer, or `k` not an integer.
        ValueError: For `k` below 1, an unknown mode, a refused setting of `layer`, inputs that are
            not `[batch, time, features]`, or an `initial_state` that is refused or does not fit.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), truncated models; Williams &
    Peng (1990) for the truncated gradient.

    Example:

    >>> import keras, numpy as np
    >>> layer = TruncatedWrapper(keras.layers.GRU(4, return_sequences=True), k=2)
    >>> x = np.ones([1, 6, 3], "float32")
    >>> y = layer(x).numpy()
    >>> x[:, :4] = 7.0
    >>> bool(np.all(layer(x).numpy()[:, 5] == y[:, 5])), bool(np.all(layer(x) == y))
    (True, False)
    """

    def __init__(
        self, layer: keras.layers.RNN, k: int, mode: str = "window", **kwargs: Any
    ) -> None:
        _check_layer(layer)
        k = _checks.integer("k", k)
        mode = _checks.choice("mode", mode, MODES)
        kwargs.setdefault("dtype", layer.dtype_policy)
        kwargs.setdefault("activity_regularizer", layer.activity_regularizer)
        super().__init__(layer, **kwargs)
        self.k = k
        self.mode = mode
        self.supports_masking = True
        self.input_spec = None

    @property
    def return_sequences(self):
        return self.layer.return_sequences

    @property
    def return_state(self):
        return self.layer.return_state

    @property
    def go_backwards(self):
        return self.layer.go_backwards

    @property
    def stateful(self):
        return False

    @property
    def states(self):
        return None

    @property
    def zero_output_for_mask(self):
        return self.layer.zero_output_for_mask

    @zero_output_for_mask.setter
    def zero_output_for_mask(self, value):
        self.layer.zero_output_for_mask = value

    def build(self, sequences_shape, initial_state_shape=None):
        self._check_sequences(sequences_shape)
        super().build(tuple(sequences_shape))

    def call(self, sequences, initial_state=None, mask=None, training=False):
        self._check_sequences(sequences.shape)
        cell, batch = self.layer.cell, tf.shape(sequences)[0]
        _masks.check_mask(self, mask, sequences.shape)
        mask = _masks.step_mask(mask)
        initial = default = self.layer.get_initial_state(batch_size=batch)
        if initial_state is not None:
            initial = self._checked_state(initial_state, initial, sequences.shape[0])
        sequences, mask = _masks.processed(sequences, mask, self.go_backwards)
        packed = None if mask is None else packing(mask)
        x = sequences if packed is None else pack(sequences, packed)
        count = None if packed is None else packed.count
        # Zeros stand for the first step's inputs, which a sequence of no steps does not have.
        first = tf.zeros([batch, sequences.shape[-1]], sequences.dtype)
        _keras.make_dropout_masks(self.layer, cell, first, initial)
        try:
            outputs, states = self._run(x, initial, count, bool(training))
        finally:
            _keras.forget_dropout_masks(self.layer, cell)
        return self._results(outputs, states, default, mask, packed)

    def _run(self, x, initial, count, training):
        steps = cell_steps(self.layer.cell, training)
        runs = Runs(steps, tf.transpose(x, [1, 0, 2]), initial, count, self.k)
        if self.mode == "window":
            return runs.window(self.return_sequences)
        if self.mode == "gradient":
            return runs.gradient(self.return_sequences)
        if not isinstance(self.layer, HDetachLSTM):
            return runs.chunk(self.return_sequences)
        keep = self.layer.draw(x) if training else None
        if not self.layer.is_standard():
            return runs.chunk(self.return_sequences, self.layer.cut(keep))
        return _hdetach_chunks(self.layer, runs, keep, training)

    def _results(self, outputs, states, default, mask, packed):
        """What the layer returns, from the runs' time-major outputs and flat states."""
        if self.return_sequences:
            outputs = tf.transpose(outputs, [1, 0, 2])
            if packed is not None:
                outputs = unpack(outputs, packed, before=tf.zeros_like(outputs[:, :1]))
        if mask is not None and self.zero_output_for_mask:
            shown = mask if self.return_sequences else tf.reduce_any(mask[:, -1:], axis=1)
            outputs = tf.where(shown[..., None], outputs, tf.zeros_like(outputs))
        outputs = tf.cast(outputs, self.compute_dtype)
        if not self.return_state:
            return outputs
        states = [tf.cast(s, d.dtype) for s, d in zip(states, keras.tree.flatten(default))]
        return outputs, *keras.tree.pack_sequence_as(default, states)

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        return self.layer.compute_output_shape(sequences_shape)

    def compute_mask(self, sequences, mask):
        return None if mask is None else self.layer.compute_mask(sequences, mask)

    def _check_sequences(self, shape):
        if len(shape) != 3:
            raise ValueError(
                f"`sequences` of {self.name} must have the shape [batch, time, features]. "
                f"Received: sequences.shape={tuple(shape)}"
            )

    def _checked_state(self, given, default, batch):
        if self.mode == "window":
            raise ValueError(
                "`initial_state` must be None in mode 'window': every window starts from the "
                f"layer's own initial state. Received: an initial_state of {self.name}"
            )
        given = keras.tree.flatten(given)
        expected = [(batch, s.shape[-1]) for s in keras.tree.flatten(default)]
        received = [tuple(s.shape) for s in given]
        fits = len(received) == len(expected) and all(
            tf.TensorShape(r).is_compatible_with(e) for r, e in zip(received, expected)
        )
        if not fits:
            raise ValueError(
                f"`initial_state` of {self.name} must be {len(expected)} tensor(s) of shapes "
                f"{expected}. Received: shapes {received}"
            )
        return keras.tree.pack_sequence_as(default, [tf.convert_to_tensor(s) for s in given])

    def get_config(self):
        return {**super().get_config(), "k": self.k, "mode": self.mode}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if "go_backwards" in config:  # `keras.layers.Bidirectional` turns a layer round like this
            inner = config["layer"]["config"]
            turned = {**inner, "go_backwards": config.pop("go_backwards")}
            config["layer"] = {**config["layer"], "config": turned}
        return super().from_config(config, custom_objects=custom_objects)


def _check_layer(layer):
    if not isinstance(layer, keras.layers.RNN):
        raise TypeError(
            "`layer` must be a recurrent layer: a keras.layers.RNN or a subclass (LSTM, GRU, "
            f"SimpleRNN, ...). Received: layer={layer!r}"
        )
    for name, why in (
        ("stateful", "pass `initial_state` to carry state between calls"),
        ("unroll", "the truncations choose their own loops"),
    ):
        if getattr(layer, name):
            raise ValueError(f"`layer` must not have {name}=True: {why}. Received: layer={layer!r}")
    if getattr(layer, "use_cudnn", False) is True:
        raise ValueError(
            "`layer` must have use_cudnn=False or 'auto': cuDNN cannot truncate. "
            f"Received: layer={layer!r}"
        )


def _hdetach_chunks(layer, runs, keep, training):
    """Chunks by the fast recurrence: a boundary detaches h and c, a draw one of them."""
    cell = layer.cell
    time = tf.range(runs.time)
    inside = (time == 0) | (time % runs.k != 0)
    drawn = inside if keep is None else inside & keep
    x = tf.transpose(runs.x, [1, 0, 2])
    if training and cell.dropout:
        x *= tf.cast(cell.get_dropout_mask(None), x.dtype)[:, None]
    outputs, h, c = lstm(
        x,
        *runs.initial,
        full_precision(cell.kernel),
        full_precision(cell.recurrent_kernel),
        None if cell.bias is None else full_precision(cell.bias),
        mask=None if runs.count is None else tf.transpose(runs.real()),
        keep_h=drawn if layer.detach == "h" else inside,
        keep_c=drawn if layer.detach == "c" else inside,
        form=layer._form_for(training),
    )
    if layer.return_sequences:
        return tf.transpose(outputs, [1, 0, 2]), [h, c]
    return h, [h, c]
