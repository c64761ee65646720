"""A recurrent model as a pure function (x, state) -> (y, state)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import ArrayLike

from rnnzoo.graphs import functional_of
from rnnzoo.streaming._rewire import Rewiring


def explicit_state(model: keras.Model, time_local: Sequence[str | type] = ()) -> ExplicitState:
    r"""Rewire `model` so that every recurrent state is an input and an output.

    $$(y_{1:T}, s_T) = M(x_{1:T}, s_0),\qquad
      M(x_{1:T}, s_0) = M(x_{k+1:T}, s_k)\ \text{after}\ M(x_{1:k}, s_0)$$

    Args:
        model: A Functional or built Sequential model of recurrent layers (`keras.layers.RNN` and
            its subclasses: LSTM, GRU, SimpleRNN, stacked cells, this package's) and of layers that
            act on each time step alone. Nested models are rewired too; a layer called twice has
            two states. A `stateful=True` layer is treated as any other: its own kept state is
            neither read nor written.
        time_local: Names (or classes) of further layers that the caller knows to act on each time
            step alone. `BatchNormalization` is refused unless named here, because its training
            statistics run over time; at inference it does act on each step alone.

    Returns:
        An `ExplicitState`. Weights, seed generators and run-time attributes are shared with
        `model`, not copied.

    Layers pass where they see each step alone: Dense, Embedding, Dropout and noise, activations,
    LayerNormalization, RMSNormalization, Softmax and Concatenate over the last axis, Add and its
    kin, TimeDistributed, Masking, Rescaling, and element-wise operations. After a layer with
    `return_sequences=False` there is no time left, and any layer may follow; its output for a chunk
    is its output at the chunk's last step.

    Masks made in the model (Masking, Embedding) and given to the call are honoured together. Where
    a chunk begins with masked steps the output repeats the last one of the chunk before, as it does
    in one pass; for a cell whose output is not one of its states, that output is kept as one more
    state, `<layer>_output`.

    Raises:
        ValueError: For a model whose graph is not known, for a layer that mixes time steps
            (Bidirectional, `go_backwards`, Conv1D, pooling, attention, Flatten, ...) or is unknown,
            for a recurrent layer that the model gives an initial state, and for a name in
            `time_local` that no layer has.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4, name="gru")])
    >>> stream = explicit_state(model)
    >>> stream.state_names
    ['gru_h']
    >>> x = np.ones([2, 6, 3], "float32")
    >>> _, state = stream(x[:, :4], stream.initial_state(2))
    >>> y, state = stream(x[:, 4:], state)
    >>> bool(np.allclose(y, model(x), atol=1e-6))
    True
    """
    return ExplicitState(model, time_local)


class ExplicitState:
    """What `explicit_state` returns: a model as a function of input and state.

    Attributes:
        model: A Functional model from a flat dict, of the inputs by name and the states by name, to
            a flat dict of the outputs by name and the final states as `"next_<state>"`.
        masked_model: The same with one more input `mask`, `[B, T]` bool.
        step_model, masked_step_model: The same for one step: inputs without their time axis
            (`mask` is `[B]`), cells called directly, no loop.
        state_names: The names of the states, in the order of the graph.
        state_spec: `{name: (shape without batch, dtype)}`.
        input_names, output_names: Keys of `model`'s dicts, in the order of the original's inputs
            and outputs.
        input_has_time, output_has_time: Which of them run over time.
    """

    def __init__(self, model: keras.Model, time_local: Sequence[str | type] = ()):
        if isinstance(time_local, (str, type)):
            time_local = (time_local,)
        self._original = model
        self._functional = functional_of(model)
        self._time_local = tuple(time_local)
        self._variants = {}
        first = self._rewire(masked=False, single_step=False)
        unknown = [n for n in self._time_local if n not in first.used]
        if unknown:
            raise ValueError(
                "`time_local` must name layers of the model that are not recurrent. "
                f"Received: time_local={unknown!r}, which no layer is"
            )
        if not first.state_inputs:
            raise ValueError(
                "`model` must have a recurrent layer. "
                f"Received: {type(model).__name__} {model.name!r}, which has none"
            )
        self.state_names = list(first.state_inputs)
        self.state_spec = {n: (tuple(t.shape[1:]), t.dtype) for n, t in first.state_inputs.items()}
        self.time_local_names = sorted(set(first.passed))
        self._calls = first.calls
        self.input_names = [t.name for t in first.inputs]
        self.input_has_time = first.input_has_time
        self.output_names = self._flat_output_names()
        self.output_has_time = first.output_has_time
        self.model = self._as_model(first)
        self._variants[False, False] = self.model

    def _rewire(self, masked, single_step):
        return Rewiring(self._functional, self._time_local, masked, single_step)

    def _as_model(self, wired):
        inputs = {t.name: t for t in wired.inputs}
        inputs.update(wired.state_inputs)
        if wired.mask is not None:
            inputs["mask"] = wired.mask
        outputs = dict(zip(self.output_names, wired.outputs))
        outputs.update({f"next_{n}": wired.state_outputs[n] for n in self.state_names})
        return keras.Model(inputs, outputs, name=f"{self._original.name}_explicit")

    def _flat_output_names(self):
        """The keys of a dict of outputs, else the names of the layers they come from."""
        outputs = self._functional.output
        flat_dict = isinstance(outputs, dict) and len(outputs) == len(self._functional.outputs)
        names = self._functional.output_names
        if flat_dict:
            names = keras.tree.flatten({key: key for key in outputs})
        distinct = []
        for name in names:
            count = sum(n == name or n.startswith(f"{name}_output") for n in distinct)
            distinct.append(name if not count else f"{name}_output{count + 1}")
        return distinct

    def _variant(self, masked, single_step):
        key = masked, single_step
        if key not in self._variants:
            with tf.init_scope():
                self._variants[key] = self._as_model(self._rewire(masked, single_step))
        return self._variants[key]

    @property
    def masked_model(self):
        return self._variant(True, False)

    @property
    def step_model(self):
        return self._variant(False, True)

    @property
    def masked_step_model(self):
        return self._variant(True, True)

    def initial_state(self, batch_size: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """The state before any step, `{name: [B, ...]}`: zeros, unless a cell says otherwise.

        Args:
            batch_size: A non-negative integer or a scalar integer tensor.
        """
        state = {}
        for layer, names in self._calls:
            given = keras.tree.flatten(layer.get_initial_state(batch_size))
            for name, value in zip(names, given):
                state[name] = tf.cast(value, self.state_spec[name][1])
            for name in names[len(given) :]:
                shape, dtype = self.state_spec[name]
                state[name] = tf.zeros([batch_size, *shape], dtype)
        return state

    @property
    def recurrent_layers(self):
        """The original's recurrent layers, one entry a call."""
        return [layer for layer, _ in self._calls]

    def slice_time(
        self,
        inputs: dict[str, tf.Tensor],
        begin: int | tf.Tensor,
        end: int | tf.Tensor,
        length: int | None = None,
    ) -> dict[str, tf.Tensor]:
        """`flat_inputs`, those that run over time cut to the steps `[begin, end)`.

        `length` is `end - begin` where it is known when the graph is made.
        """
        times = dict(zip(self.input_names, self.input_has_time))

        def cut(value):
            part = value[:, begin:end]
            return tf.ensure_shape(part, [value.shape[0], length, *value.shape[2:]])

        return {name: cut(v) if times[name] else v for name, v in inputs.items()}

    def time_steps(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """How many time steps `flat_inputs` have, as a scalar tensor."""
        return tf.shape(self._timed(inputs))[1]

    def static_time_steps(self, inputs: dict[str, tf.Tensor]) -> int | None:
        """The same as an integer, or None where it is not known."""
        return self._timed(inputs).shape[1]

    def _timed(self, inputs):
        return inputs[self.input_names[self.input_has_time.index(True)]]

    def pack_outputs(self, flat: Sequence[tf.Tensor]) -> Any:
        """A flat list of outputs in the structure of the original's."""
        y = keras.tree.pack_sequence_as(self._functional.output, flat)
        return y[0] if isinstance(y, (list, tuple)) and len(y) == 1 else y

    def __call__(self, x, state, mask=None, training=False):
        """Run a chunk.

        Args:
            x: What the original model takes, with any number of time steps.
            state: `{name: [B, ...]}`, from `initial_state` or the chunk before.
            mask: `[B, T]` bool, or None; False where a step does not happen.
            training: Boolean.

        Returns:
            `(y, next_state)`: `y` in the structure of the original's outputs.

        Raises:
            ValueError: For states that are missing, unknown or of another batch size.
        """
        return self._apply(x, state, mask, training, single_step=False)

    def step(
        self,
        x: Any,
        state: dict[str, tf.Tensor],
        mask: ArrayLike | None = None,
        training: bool = False,
    ) -> tuple[Any, dict[str, tf.Tensor]]:
        """Run one step: as a call, with `x` and `mask` without their time axis, and no loop."""
        return self._apply(x, state, mask, training, single_step=True)

    def _apply(self, x, state, mask, training, single_step):
        inputs = self.flat_inputs(x)
        self._check_state(state, inputs)
        inputs.update({name: state[name] for name in self.state_names})
        if mask is not None:
            inputs["mask"] = tf.convert_to_tensor(mask, tf.bool)
        flat = self._variant(mask is not None, single_step)(inputs, training=training)
        y = self.pack_outputs([flat[name] for name in self.output_names])
        return y, {name: flat[f"next_{name}"] for name in self.state_names}

    def flat_inputs(self, x: Any) -> dict[str, tf.Tensor]:
        """What a call takes as `x`, as tensors by the names of the inputs; a call takes these too.

        Raises:
            ValueError: For inputs that are missing or too many.
        """
        if isinstance(x, dict):
            missing = [name for name in self.input_names if name not in x]
            flat = [x[name] for name in self.input_names if name in x]
        else:
            flat = keras.tree.flatten(x)
            missing = len(flat) != len(self.input_names)
        if missing:
            raise ValueError(
                f"`x` must hold the inputs {self.input_names}. Received: "
                f"{keras.tree.map_structure(_shape, x)}"
            )
        return {name: tf.convert_to_tensor(v) for name, v in zip(self.input_names, flat)}

    def _check_state(self, state, inputs):
        if not isinstance(state, dict) or set(state) != set(self.state_names):
            received = sorted(state) if isinstance(state, dict) else type(state).__name__
            raise ValueError(
                f"`state` must be a dict of the states {self.state_names}. Received: {received}"
            )
        batch = next(iter(inputs.values())).shape[0]
        for name, value in state.items():
            expected = (batch, *self.state_spec[name][0])
            if not tf.TensorShape(expected).is_compatible_with(value.shape):
                raise ValueError(
                    f"`state[{name!r}]` must have the shape {expected}, of the batch of `x`. "
                    f"Received: shape {tuple(value.shape)}"
                )


def _shape(value):
    return tuple(getattr(value, "shape", ()))
