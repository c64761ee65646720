"""The windows of truncated BPTT: which steps are run from which state, and their masks."""

import keras
import tensorflow as tf

from rnnzoo import _keras


class Windows:
    """Runs an `ExplicitState` on windows of time; `reach` steps stand before the newest ones."""

    def __init__(self, explicit, k1, k2):
        self.explicit, self.reach = explicit, k2 - k1

    def stride(self, x, state, begin, end, steps, length=None):
        """The newest steps `[begin, end)` from `state`, which stands `reach` steps before them.

        `length` is `end - begin` where it is known when the graph is made.

        Returns the outputs, the states at the next window's begin and at the end, the penalty.
        """
        if self.reach:
            return self._recomputed(x, state, begin, end, steps)
        y, final, penalty = self.forward(x, state, begin, end, length)
        return y, (final, final), penalty

    def _recomputed(self, x, state, begin, end, steps):
        """Run `[a, end)` in two pieces, cut where the next window will begin."""
        reach = self.reach
        first, following = tf.maximum(0, begin - reach), tf.maximum(0, end - reach)

        def whole():
            y, final, penalty = self.forward(x, state, first, end)
            return _newest(_unmask(y), end - begin), (state, final), penalty

        def pieces():
            before, middle, _ = self.forward(x, state, first, following)
            after, final, penalty = self.forward(x, middle, following, end)
            joined = [
                None if a is None else tf.concat([a, b], axis=1)
                for a, b in zip(_unmask(before), _unmask(after))
            ]
            return _newest(joined, end - begin), (middle, final), penalty

        split = tf.logical_and(following > first, end < steps)
        flat, states, penalty = tf.cond(split, pieces, whole)
        return self._remask(flat), states, penalty

    def _remask(self, flat):
        half = len(flat) // 2
        for output, mask in zip(flat[:half], flat[half:]):
            if mask is not None:
                _keras.set_mask(output, mask)
        return self.explicit.pack_outputs(flat[:half])

    def forward(self, x, state, begin, end, length=None):
        part = self.explicit.slice_time(x, begin, end, length)
        y, new = self.explicit(part, state, training=True)
        new = {name: tf.ensure_shape(new[name], state[name].shape) for name in state}
        penalties = [tf.cast(value, tf.float32) for value in self.explicit.model.losses]
        return y, new, tf.add_n(penalties) if penalties else tf.constant(0.0)

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


def count_steps(output, mask):
    """How many steps of the stride the loss is an average over."""
    if mask is not None:
        return tf.reduce_sum(tf.cast(mask, tf.float32))
    return tf.cast(tf.reduce_prod(tf.shape(output)[:2]), tf.float32)
