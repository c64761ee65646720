"""What our recurrent layers share: the checks before any computation and the road to a recurrence.

Each layer is a Keras recurrent layer (a subclass of `keras.layers.RNN`) over a cell: the cell says
what one step is, and serves the `step` signature; the layer's whole-sequence call goes through a
function of `rnnzoo.recurrences`. Masking, `initial_state`, `stateful`, `return_state`,
`Bidirectional` and saving therefore are Keras's own.
"""

import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.recurrences import _forms
from rnnzoo.recurrences._loops import static_or_dynamic, time_loop

HALF_PRECISION = (tf.float16, tf.bfloat16)


class Recurrent:
    """Mixin, to stand before the Keras class; a subclass defines `recur`.

    `recur(sequences, initial_state, mask, training) -> (outputs, states)` gets `sequences
    [B, T, F]` in the order of processing, `initial_state` as a list of `[B, ...]`, `mask [B, T]`
    bool or None, all in float32 or float64, and returns `outputs [B, T, units]` (at masked steps:
    whatever is carried) with the list of final states.
    """

    def _set_form(self, form, shards=None):
        self.form = _checks.choice("form", form, _forms.FORMS)
        self.shards = _checks.optional_integer("shards", shards)

    def _form_for(self, training):
        """What to ask the recurrence for; see `rnnzoo.recurrences._forms`."""
        return _forms.for_layer(self.form, training)

    @classmethod
    def _check_arguments(cls, units, kwargs):
        """Check what Keras would clamp or accept silently; the rest is Keras's to judge."""
        _checks.integer("units", units)
        for name in ("dropout", "recurrent_dropout"):
            if name in kwargs:
                _checks.probability(name, kwargs[name])
        for name in ("return_sequences", "return_state", "go_backwards", "stateful", "use_bias"):
            if name in kwargs:
                _checks.boolean(name, kwargs[name])
        if kwargs.get("seed") is not None:
            _checks.integer("seed", kwargs["seed"], minimum=0)
        cls._refuse_unroll(kwargs)

    @staticmethod
    def _refuse_unroll(kwargs):
        if kwargs.get("unroll"):
            raise ValueError(
                "`unroll` must be False: the recurrences choose their own unrolling. "
                "Received: unroll=True"
            )

    def recur(self, sequences, initial_state, mask, training):
        """Run the recurrence; defined by each layer."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `recur`.")

    def call(self, sequences, initial_state=None, mask=None, training=False):
        self._check_call(sequences, initial_state, mask)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        mask = tf.nest.flatten(mask)[0] if mask is not None else None
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            mask = mask[..., 0] if mask.shape.rank == 3 else mask
        if self.go_backwards:
            sequences = tf.reverse(sequences, [1])
            mask = None if mask is None else tf.reverse(mask, [1])
        initial_state = tf.nest.flatten(initial_state)
        if sequences.dtype in HALF_PRECISION:
            sequences = tf.cast(sequences, tf.float32)
            initial_state = [tf.cast(s, tf.float32) for s in initial_state]
        outputs, states = self.recur(sequences, initial_state, mask, training)
        if mask is not None:
            outputs = tf.where(self._visible(mask)[..., None], outputs, tf.zeros_like(outputs))
        last = tf.reduce_sum(outputs[:, -1:], axis=1)  # zeros where there is no step at all
        return last, outputs, states

    def _visible(self, mask):
        """Where Keras shows an output: from the first real step on, or at real steps alone."""
        if self.zero_output_for_mask:
            return mask
        return tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0

    def _check_call(self, sequences, initial_state, mask):
        shape = sequences.shape
        if len(shape) != 3:
            raise ValueError(
                f"`sequences` of {self.name} must have the shape [batch, time, features]. "
                f"Received: sequences.shape={tuple(shape)}"
            )
        if mask is not None:
            flat = tf.nest.flatten(mask)[0]
            if not _compatible(flat.shape[:2], shape[:2]):
                raise ValueError(
                    f"`mask` of {self.name} must have the shape [batch, time] of the sequences, "
                    f"{tuple(shape[:2])}. Received: mask.shape={tuple(flat.shape)}"
                )
        if initial_state is not None:
            self._check_initial_state(initial_state, shape[0])

    def _check_initial_state(self, initial_state, batch):
        states = tf.nest.flatten(initial_state)
        expected = [(batch, size) for size in self.state_size]
        received = [tuple(s.shape) for s in states]
        fits = len(states) == len(expected) and all(
            len(r) == 2 and _compatible(r, e) for r, e in zip(received, expected)
        )
        if not fits:
            raise ValueError(
                f"`initial_state` of {self.name} must be {len(expected)} tensor(s) of shapes "
                f"{expected}. Received: {received}"
            )


def _compatible(received, expected):
    return all(r is None or e is None or r == e for r, e in zip(received, expected))


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
