"""What the causal feed-forward layers share: a convolution is a recurrence on its own past inputs.

Each layer is a Keras recurrent layer over a cell whose states are the past inputs that its
convolutions still need. So `return_state`, `initial_state`, `stateful`, `Bidirectional`,
`explicit_state`, truncated BPTT and the export's `step` are those of every other layer of the zoo.
A sequence runs through the convolutions at once, never step by step.
"""

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.initializers import own_seed, reseeded
from rnnzoo.layers._causal_conv import CausalConv
from rnnzoo.layers._recurrent import OverCell
from rnnzoo.recurrences._packing import pack, packing, unpack


class CausalCell(keras.layers.Layer):
    """One step of a stack of causal convolutions, or many at once.

    A subclass makes `self.convs` with `_conv` in the order in which `network` runs them, and
    defines `network(x, conv, training)`, where `conv(layer, x)` runs one of them on `[B, T, C]`.
    A cell that adds its input to `units` channels makes room for it with `_build_residual`.
    """

    own_arguments = ("units", "dropout", "weight_norm", "kernel_initializer", "seed")

    def __init__(self, units, dropout, weight_norm, kernel_initializer, seed, **kwargs):
        super().__init__(**kwargs)
        self.units = self.output_size = _checks.integer("units", units)
        self.dropout = _checks.real("dropout", dropout, 0.0, 1.0, high_open=True)
        self.weight_norm = _checks.boolean("weight_norm", weight_norm)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = _checks.optional_integer("seed", seed, minimum=0)
        self.convs, self.dropouts, self.residual = [], [], None
        self.features = None
        self._draws = 0

    def _conv(self, filters, kernel_size=1, dilation=1, channels=None, **options):
        options.setdefault("weight_norm", self.weight_norm)
        return CausalConv(
            filters,
            kernel_size,
            dilation,
            channels,
            kernel_initializer=reseeded(self.kernel_initializer, self._next_seed()),
            dtype=self.dtype_policy,
            **options,
        )

    def _dropout(self):
        """Spatial: a channel is dropped for all time."""
        return keras.layers.SpatialDropout1D(
            self.dropout, seed=self._next_seed(), dtype=self.dtype_policy
        )

    def _next_seed(self):
        """A seed of its own for each draw, or None where the layer has none."""
        base = self.seed
        if base is None:
            base = own_seed(self.kernel_initializer)
        self._draws += 1
        return None if base is None else base + self._draws - 1

    def build(self, input_shape):
        self.features = input_shape[-1]
        for conv in self.convs:
            conv.build((None, None, conv.channels or self.features))

    def _build_residual(self):
        """A 1x1 convolution where the input has another width than the layer."""
        if self.features != self.units:
            self.residual = self._conv(self.units, weight_norm=False, name="residual")
            self.residual.build((None, None, self.features))

    def network(self, x, conv, training):
        """Run the stack; defined by each cell."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `network`.")

    @property
    def receptive_field(self):
        return 1 + sum(conv.span for conv in self.convs)

    def state_sizes(self, features):
        return [c.span * (c.channels or features) for c in self.convs if c.span]

    @property
    def state_size(self):
        """Empty before build: the first convolution's channels are not known."""
        return [] if self.features is None else self.state_sizes(self.features)

    @property
    def state_names(self):
        return [conv.name for conv in self.convs if conv.span]

    def call(self, inputs, states, training=False):
        outputs, states = self.run(inputs[:, None], states, None, training)
        return outputs[:, 0], states

    def run(self, x, states, count, training):
        """`[B, T, F]` from flat states; of row b only the first `count[b]` steps are real."""
        past = _Past(states, count)
        outputs = self.network(x, past, training)
        return outputs, past.new

    def get_config(self):
        # Not Keras's own record of the arguments: it takes no initializer that is an object.
        kept = {"name": self.name, "trainable": self.trainable}
        kept["dtype"] = keras.dtype_policies.serialize(self.dtype_policy)
        own = {name: getattr(self, name) for name in self.own_arguments}
        own["kernel_initializer"] = keras.initializers.serialize(self.kernel_initializer)
        return {**kept, **own}


class _Past:
    """Puts the past before each convolution's input, and keeps what the next call needs."""

    def __init__(self, states, count):
        self._states, self._count, self.new = iter(states), count, []

    def __call__(self, conv, x):
        if not conv.span:
            return conv(x)
        past = tf.reshape(next(self._states), [-1, conv.span, conv.channels])
        known = tf.concat([tf.cast(past, x.dtype), x], axis=1)
        self.new.append(tf.reshape(self._last(known, conv.span), [-1, conv.span * conv.channels]))
        if x.shape[1]:
            return conv(known)
        # Perhaps no step at all, which TensorFlow's convolution does not take: one more then.
        steps = tf.shape(x)[1]
        missing = tf.zeros([tf.shape(x)[0], tf.maximum(1 - steps, 0), conv.channels], x.dtype)
        return conv(tf.concat([known, missing], axis=1))[:, :steps]

    def _last(self, known, span):
        """The `span` inputs up to the last real step."""
        if self._count is None:
            return known[:, -span:]
        return tf.gather(known, self._count[:, None] + tf.range(span)[None], batch_dims=1)


class Causal(OverCell):
    """The layer over a `CausalCell`, which a subclass makes and whose arguments it documents."""

    half_precision = True  # past inputs, which nothing is summed into

    @property
    def cell_arguments(self):
        return self.cell.own_arguments

    @property
    def state_size(self):
        return self.cell.state_size

    @state_size.setter
    def state_size(self, value):
        """Keras's constructor sets it too early; the cell knows it, once built."""

    @property
    def receptive_field(self):
        """How many of the newest inputs, its own among them, an output depends on."""
        return self.cell.receptive_field

    def call(self, sequences, initial_state=None, mask=None, training=False):
        given = {"initial_state": initial_state, "training": training}
        if len(sequences.shape) != 3 or sequences.shape[1] != 0:
            return super().call(sequences, mask=mask, **given)
        # Keras's call reads the first step: where there is none, one that does not happen.
        nothing = tf.zeros([tf.shape(sequences)[0], 1], tf.bool)
        result = super().call(tf.pad(sequences, [[0, 0], [0, 1], [0, 0]]), mask=nothing, **given)
        if not self.return_sequences:
            return result
        return (result[0][:, :0], *result[1:]) if self.return_state else result[:, :0]

    def recur(self, sequences, initial_state, mask, training):
        if mask is None:
            return self.cell.run(sequences, initial_state, None, training)
        # The real steps alone, side by side; then each output to where its step stands.
        packed = packing(mask)
        x = pack(sequences, packed)
        outputs, states = self.cell.run(x, initial_state, packed.count, training)
        return unpack(outputs, packed), states

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        shape = super().compute_output_shape(sequences_shape)
        if not self.return_state:
            return shape
        sizes = self.cell.state_sizes(sequences_shape[-1])
        return (shape[0], *((sequences_shape[0], size) for size in sizes))

    def get_config(self):
        config = super().get_config()
        del config["unroll"]
        return config


def dilations(levels):
    """1, 2, 4, ...: one for each level."""
    return [2**level for level in range(levels)]


def at_least_two(name, value):
    """A kernel of one tap has no past, and its layer would be no sequence model."""
    return _checks.integer(name, value, minimum=2)
