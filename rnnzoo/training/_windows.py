"""The windows of truncated BPTT: which steps are run from which state, and their masks."""

import keras
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.training._losses import penalty_of


class Windows:
    """Runs an `ExplicitState` on the windows of a walk in strides of `k1` steps.

    A window is the newest steps `[begin, end)` and up to `reach` steps before them, where the given
    state stands. Its inputs are those of the whole batch, as `ExplicitState.flat_inputs` gives
    them; `length` is `end - begin` where it is known when the graph is made. All methods that run
    one return the outputs of the newest steps, a state, and the penalty: the sum of the
    regularization losses and of those that layers have added.
    """

    def __init__(self, explicit, k1, k2):
        self.explicit, self.k1, self.reach = explicit, k1, k2 - k1

    def stride(self, x, state, begin, end, length=None):
        """A window that another one follows: the state is that at the next one's begin."""
        if not self.reach:
            return self.forward(x, state, begin, end, length)
        first, following = tf.maximum(0, begin - self.reach), tf.maximum(0, end - self.reach)

        def whole():
            y, _, penalty = self.forward(x, state, first, end)
            return _newest(_unmask(y), end - begin), state, penalty

        def pieces():
            before, middle, _ = self.forward(x, state, first, following)
            after, _, penalty = self.forward(x, middle, following, end)
            joined = [
                None if a is None else tf.concat([a, b], axis=1)
                for a, b in zip(_unmask(before), _unmask(after))
            ]
            return _newest(joined, end - begin), middle, penalty

        if self.reach < self.k1:  # then the next window always begins after this one
            flat, state, penalty = pieces()
        else:
            flat, state, penalty = tf.cond(following > first, pieces, whole)
        return self._remask(flat), state, penalty

    def last(self, x, state, begin, end, length=None):
        """The window that ends the batch: the state is that at its end."""
        if not self.reach:
            return self.forward(x, state, begin, end, length)
        y, final, penalty = self.forward(x, state, tf.maximum(0, begin - self.reach), end)
        return self._remask(_newest(_unmask(y), end - begin)), final, penalty

    def _remask(self, flat):
        half = len(flat) // 2
        for output, mask in zip(flat[:half], flat[half:]):
            if mask is not None:
                _keras.set_mask(output, mask)
        return self.explicit.pack_outputs(flat[:half])

    def forward(self, x, state, begin, end, length=None):
        """The steps `[begin, end)` from the state before them: the state is that at their end."""
        part = self.explicit.slice_time(x, begin, end, length)
        y, new = self.explicit(part, state, training=True)
        new = {name: tf.ensure_shape(new[name], state[name].shape) for name in state}
        return y, new, penalty_of(self.explicit.model)

    def check_times(self, name, value, x, ranks):
        steps = self.explicit.static_time_steps(x)
        for tensor in keras.tree.flatten(value):
            if tensor is None or tensor.shape.rank == ranks:
                continue
            if tensor.shape.rank is not None and (
                tensor.shape.rank < 2
                or not tf.TensorShape([steps]).is_compatible_with(tensor.shape[1:2])
            ):
                raise ValueError(
                    f"`{name}` must have the time axis of the outputs, [batch, {steps or 'time'}, "
                    f"...]. Received: {name}.shape={tuple(tensor.shape)}"
                )


def cut_time(value, begin, end, per_row=False):
    """The time steps [begin, end) of each tensor; one of rank 1 is per row if `per_row`."""

    def cut(tensor):
        if tensor is None or (per_row and tensor.shape.rank == 1):
            return tensor
        return tensor[:, begin:end]

    return keras.tree.map_structure(cut, value)


def _unmask(y):
    """Outputs and their masks as one flat list, so that both pass through `tf.cond`."""
    flat = keras.tree.flatten(y)
    return flat + [_keras.mask_of(t) for t in flat]


def _newest(tensors, count):
    return [None if t is None else t[:, tf.shape(t)[1] - count :] for t in tensors]


def some_weight(sample_weight, mask=None):
    """Whether any step (of those unmasked) has a weight other than zero."""
    found = []
    for weight in keras.tree.flatten(sample_weight):
        if weight is None:
            found.append(tf.reduce_any(mask))
            continue
        some = tf.not_equal(weight, 0)
        if mask is not None:
            some = tf.reshape(some, [tf.shape(mask)[0], -1]) & mask
        found.append(tf.reduce_any(some))
    return tf.reduce_any(tf.stack(found))
