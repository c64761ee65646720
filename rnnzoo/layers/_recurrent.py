"""What our recurrent layers share: the checks before any computation and the road to a recurrence.

Each layer is a Keras recurrent layer (a subclass of `keras.layers.RNN`) over a cell: the cell says
what one step is, and serves the `step` signature; the layer's whole-sequence call goes through a
function of `rnnzoo.recurrences`. Masking, `initial_state`, `stateful`, `return_state`,
`Bidirectional` and saving therefore are Keras's own.
"""

import collections.abc
import inspect
import numbers

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.layers import _masks
from rnnzoo.layers._form_in_keras import form_in_keras
from rnnzoo.recurrences import _forms
from rnnzoo.recurrences._loops import static_or_dynamic, time_loop

Activation = str | collections.abc.Callable | None
HALF_PRECISION = (tf.float16, tf.bfloat16)
_FLAGS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
    "use_bias",
)


class Recurrent:
    """Mixin, to stand before the Keras class; a subclass defines `recur`.

    `recur(sequences, initial_state, mask, training) -> (outputs, states)` gets `sequences
    [B, T, F]` in the order of processing, `initial_state` as a list of `[B, ...]`, `mask [B, T]`
    bool or None, all in float32 or float64, and returns `outputs [B, T, units]` (at masked steps:
    whatever is carried) with the list of final states.

    A layer that needs no float32 for its states says so by `half_precision`: then `recur` gets the
    sequences and states in the compute dtype, half or not.

    A layer that has its last output for less than all of them defines `recur_last` too, which
    `return_sequences=False` takes: with the same arguments `(output [B, units], states)`, the
    output at each row's last real step.
    """

    half_precision = False
    recur_last = None
    takes_unroll = False  # those do that have a twin in Keras, with the same values

    def _set_form(self, form, shards=None, xla=True):
        self.form = _forms.check(form, xla)
        self.shards = _checks.optional_integer("shards", shards)

    def _form_for(self, training):
        """What to ask the recurrence for; see `rnnzoo.recurrences._forms`."""
        return form_in_keras(self.form, training)

    @classmethod
    def check_arguments(cls, units, kwargs):
        """Check what Keras would clamp or accept silently; the rest is Keras's to judge.

        Flags become booleans in `kwargs`, because a configuration cannot hold `numpy.True_`.
        """
        _checks.integer("units", units)
        for name in ("dropout", "recurrent_dropout"):
            if name in kwargs:
                _checks.probability(name, kwargs[name])
        for name in _FLAGS:
            if name in kwargs:
                kwargs[name] = _flag(name, kwargs[name])
        if kwargs.get("seed") is not None:
            _checks.integer("seed", kwargs["seed"], minimum=0)
        cls._refuse_unroll(kwargs)

    @classmethod
    def _refuse_unroll(cls, kwargs):
        if kwargs.get("unroll") and not cls.takes_unroll:
            raise ValueError(
                "`unroll` must be False: the recurrences choose their own unrolling. "
                "Received: unroll=True"
            )

    def recur(self, sequences, initial_state, mask, training):
        """Run the recurrence; defined by each layer."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `recur`.")

    def call(self, sequences, initial_state=None, mask=None, training=False):
        self._check_call(sequences, initial_state, mask)
        sequences = self._as_float(sequences)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def _as_float(self, sequences):
        """Integers and booleans in the compute dtype; Keras's autocast leaves them as they are."""
        if tf.as_dtype(sequences.dtype).is_floating:
            return sequences
        return tf.cast(sequences, self.compute_dtype)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        sequences = self._as_float(sequences)
        mask = _masks.step_mask(mask)
        sequences, mask = _masks.processed(sequences, mask, self.go_backwards)
        initial_state = tf.nest.flatten(initial_state)
        if sequences.dtype in HALF_PRECISION and not self.half_precision:
            sequences = tf.cast(sequences, tf.float32)
            initial_state = [tf.cast(s, tf.float32) for s in initial_state]
        if self.recur_last is not None and not self.return_sequences:
            last, states = self.recur_last(sequences, initial_state, mask, training)
            if mask is not None:
                shown = _masks.shown_last(mask, self.zero_output_for_mask)
                last = tf.where(shown[:, None], last, tf.zeros_like(last))
            return last, last[:, None], states
        outputs, states = self.recur(sequences, initial_state, mask, training)
        if mask is not None:
            shown = _masks.shown(mask, self.zero_output_for_mask)
            outputs = tf.where(shown[..., None], outputs, tf.zeros_like(outputs))
        last = tf.reduce_sum(outputs[:, -1:], axis=1)  # zeros where there is no step at all
        return last, outputs, states

    def _check_call(self, sequences, initial_state, mask):
        shape = sequences.shape
        if len(shape) != 3:
            raise ValueError(
                f"`sequences` of {self.name} must have the shape [batch, time, features]. "
                f"Received: sequences.shape={tuple(shape)}"
            )
        _masks.check_mask(self, mask, shape)
        if initial_state is not None:
            self._check_initial_state(initial_state, shape[0])

    def _check_initial_state(self, initial_state, batch):
        states = tf.nest.flatten(initial_state)
        expected = [(batch, size) for size in self.state_size]
        received = [tuple(s.shape) for s in states]
        fits = len(states) == len(expected) and all(
            len(r) == 2 and _masks.compatible(r, e) for r, e in zip(received, expected)
        )
        if not fits:
            raise ValueError(
                f"`initial_state` of {self.name} must be {len(expected)} tensor(s) of shapes "
                f"{expected}. Received: {received}"
            )


class OverCell(Recurrent, keras.layers.RNN):
    """Base of the layers over a cell of our own; a subclass makes the cell and hands it over.

    In the layer's config the cell's arguments stand beside the layer's own, the cell itself does
    not. `cell_arguments` names them, as the cell's `get_config` does.
    """

    cell_arguments = ("units",)

    def __init__(self, cell, **kwargs):
        self.check_arguments(cell.units, kwargs)
        super().__init__(cell, **kwargs)
        self.supports_masking = True  # which the next Keras denies its own recurrent layers

    def get_config(self):
        config, cell = super().get_config(), self.cell.get_config()
        del config["cell"]
        return {**config, **{name: cell[name] for name in self.cell_arguments}}

    @classmethod
    def from_config(cls, config):
        return cls(**config)  # Keras's RNN would look for a cell, which is made here


def shared(kwargs):
    """What a cell takes too of its layer's `kwargs`."""
    return {name: kwargs[name] for name in ("dtype", "trainable") if name in kwargs}


def named_by(constructor, given):
    """Of `given`, a constructor's `locals()`, what another constructor names too.

    For those that spell out the arguments of their twin in Keras and hand them on.
    """
    names = inspect.signature(constructor).parameters
    return {name: given[name] for name in names if name in given and name not in ("self", "kwargs")}


def refuse_number(activation, own):
    """Refuse a number in the place of the activation, with a hint at the argument `own`."""
    if isinstance(activation, numbers.Number):
        raise TypeError(
            "`activation` must be the name of an activation or a function; by position the "
            f"arguments are those of Keras's layer, and `{own}` is given by name: "
            f"{own}={activation!r}. Received: activation={activation!r}"
        )


def _flag(name, value):
    """True or False from what Keras takes for them: booleans, NumPy's too, and 0 and 1."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, numbers.Integral) and value in (0, 1):
        return bool(value)
    raise TypeError(f"`{name}` must be True or False. Received: {name}={value!r}")


def cell_loop(cell, sequences, states, mask=None, training=False, cut=None):
    """Run any cell over `sequences [B, T, F]` step by step, differentiable by TensorFlow alone.

    The slow road, for what no recurrence covers: other activations, recurrent dropout.
    `cut(t, states)` may detach the states that enter step `t`; a masked step carries them whole.

    Returns:
        `(outputs [B, T, units], states)`.
    """
    sequences = tf.transpose(sequences, [1, 0, 2])
    mask = None if mask is None else tf.transpose(mask)[..., None]
    steps = static_or_dynamic(sequences, 0)
    cast = cell.compute_dtype

    def step(t, output, outputs, *states):
        given = states if cut is None else cut(t, states)
        given = [tf.cast(s, cast) for s in given]
        new_output, new_states = cell(tf.cast(sequences[t], cast), given, training=training)
        new_output = tf.cast(new_output, output.dtype)
        new_states = [tf.cast(s, sequences.dtype) for s in tf.nest.flatten(new_states)]
        if mask is not None:
            new_output = tf.where(mask[t], new_output, output)
            new_states = [tf.where(mask[t], new, old) for new, old in zip(new_states, states)]
        return (new_output, outputs.write(t + 1, new_output), *new_states)

    size = cell.output_size
    output = tf.zeros([static_or_dynamic(sequences, 1), size], sequences.dtype)
    outputs = tf.TensorArray(sequences.dtype, steps + 1, element_shape=[sequences.shape[1], size])
    outputs = outputs.write(0, output)  # never empty, which TensorFlow cannot stack
    _, outputs, *states = time_loop(step, (output, outputs, *states), steps, unroll=1)
    return tf.transpose(outputs.stack()[1:], [1, 0, 2]), list(states)


def full_precision(variable):
    """The variable's value, in float32 where a mixed-precision policy would hand out half."""
    value = tf.convert_to_tensor(variable)
    return tf.cast(value, tf.float32) if value.dtype in HALF_PRECISION else value
