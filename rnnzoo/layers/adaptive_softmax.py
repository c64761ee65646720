"""AdaptiveSoftmax: the softmax over a large vocabulary whose cost is that of its frequent words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks


@keras.saving.register_keras_serializable(package="rnnzoo")
class AdaptiveSoftmax(keras.layers.Layer):
    r"""A two-level softmax: frequent tokens in the head, rare ones in clusters under it.

    $$\ln p(y \mid h) = \begin{cases} \ln \mathrm{softmax}(W_0 h + b_0)_y & y < c_1\\
      \ln \mathrm{softmax}(W_0 h + b_0)_{c_1 + i - 1}
      + \ln \mathrm{softmax}(W_i P_i h + b_i)_{y - c_i} & c_i \le y < c_{i+1} \end{cases}$$

    The tokens must be numbered by falling frequency. The probabilities add up to 1 over the whole
    vocabulary, so that a perplexity from them is exact. With targets, a cluster is computed for
    those steps alone whose target is in it.

    Args:
        vocabulary_size: Number of tokens, at least 2.
        cutoffs: Rising token numbers c_1 < c_2 < ... in (0, vocabulary_size) where the clusters
            begin.
        divisor: `P_i` reduces the width `H` to `max(1, H // divisor ** i)`; at least 1 (default 4).
        kernel_initializer: Of all matrices (default "glorot_uniform").

    Shapes and dtypes: called with `h [..., H]` it gives ln p over the vocabulary,
    `[..., vocabulary_size]`; called with the list `[h, targets]`, targets `[...]` integers, it
    gives ln p(target), `[...]`. Weights: `W_0 [H, c_1 + clusters]`, `b_0`, and for each cluster
    `P_i`, `W_i`, `b_i`. Under mixed precision it computes in the dtype of its weights.

    Masking: each step stands alone; a mask passes.

    Raises:
        ValueError: For cutoffs that do not rise or are outside the vocabulary.

    Source: Grave, Joulin, Cissé, Grangier & Jégou, *Efficient softmax approximation for GPUs*
    (2017); the biases are ours.

    >>> import numpy as np
    >>> from rnnzoo.layers.adaptive_softmax import AdaptiveSoftmax
    >>> layer = AdaptiveSoftmax(10, cutoffs=[4, 7])
    >>> h = np.ones([1, 2, 8], "float32")
    >>> p = np.exp(layer(h))
    >>> p.shape, bool(np.allclose(p.sum(-1), 1, atol=1e-6))
    ((1, 2, 10), True)
    >>> bool(np.allclose(np.exp(layer([h, np.array([[1, 9]])])), p[0, [0, 1], [1, 9]], atol=1e-6))
    True
    """

    # What `rnnzoo.explicit_state` asks a layer that it does not know.
    acts_on_each_step = True

    def __init__(
        self,
        vocabulary_size: int,
        cutoffs: Sequence[int],
        divisor: int = 4,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        # Logarithms in half precision would cost the loss its accuracy.
        super().__init__(dtype=policy.variable_dtype, **kwargs)
        self.vocabulary_size = _checks.integer("vocabulary_size", vocabulary_size, 2)
        self.cutoffs = [_checks.integer("cutoffs", cutoff) for cutoff in cutoffs]
        bounds = [0, *self.cutoffs, self.vocabulary_size]
        if not self.cutoffs or any(a >= b for a, b in itertools.pairwise(bounds)):
            raise ValueError(
                "`cutoffs` must rise and lie between 0 and `vocabulary_size`="
                f"{self.vocabulary_size}, both excluded. Received: cutoffs={cutoffs!r}"
            )
        self.divisor = _checks.integer("divisor", divisor)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True
        self._clusters = list(itertools.pairwise(bounds))[1:]

    def build(self, input_shape):
        paired = isinstance(input_shape, list) and isinstance(input_shape[0], (list, tuple))
        width = (input_shape[0] if paired else input_shape)[-1]
        head = self.cutoffs[0] + len(self._clusters)
        self.head_kernel, self.head_bias = self._pair("head", width, head)
        self._tails = []
        for number, (begin, end) in enumerate(self._clusters, start=1):
            reduced = max(1, width // self.divisor**number)
            projection = self.add_weight(
                shape=(width, reduced),
                initializer=self._new_initializer(),
                name=f"projection_{number}",
            )
            self._tails.append((projection, *self._pair(f"tail_{number}", reduced, end - begin)))

    def _pair(self, name, width, size):
        kernel = self.add_weight(
            shape=(width, size), initializer=self._new_initializer(), name=f"{name}_kernel"
        )
        return kernel, self.add_weight(shape=(size,), initializer="zeros", name=f"{name}_bias")

    def _new_initializer(self):
        """One with a seed of its own: an initializer that is called twice draws the same."""
        return self.kernel_initializer.clone()

    def call(self, inputs):
        if isinstance(inputs, (list, tuple)):
            return self._of_targets(*inputs)
        return self._of_all(inputs)

    def _head(self, hidden):
        return tf.matmul(hidden, self.head_kernel) + self.head_bias

    def _tail(self, number, hidden):
        projection, kernel, bias = self._tails[number]
        return tf.matmul(tf.matmul(hidden, projection), kernel) + bias

    def _of_targets(self, hidden, targets):
        shape = tf.shape(targets)
        targets = tf.reshape(tf.cast(targets, tf.int32), [-1])
        hidden = tf.reshape(hidden, [-1, hidden.shape[-1]])
        labels = targets
        for number, (begin, end) in enumerate(self._clusters):
            inside = (targets >= begin) & (targets < end)
            labels = tf.where(inside, self.cutoffs[0] + number, labels)
        nats = _nats(labels, self._head(hidden))
        for number, (begin, end) in enumerate(self._clusters):
            rows = tf.where((targets >= begin) & (targets < end))
            logits = self._tail(number, tf.gather(hidden, rows[:, 0]))
            rest = _nats(tf.gather(targets, rows[:, 0]) - begin, logits)
            nats = tf.tensor_scatter_nd_add(nats, rows, rest)
        return tf.reshape(-nats, shape)

    def _of_all(self, hidden):
        flat = tf.reshape(hidden, [-1, hidden.shape[-1]])
        head = tf.nn.log_softmax(self._head(flat))
        parts = [head[:, : self.cutoffs[0]]]
        for number in range(len(self._clusters)):
            tail = tf.nn.log_softmax(self._tail(number, flat))
            parts.append(head[:, self.cutoffs[0] + number, None] + tail)
        shape = tf.concat([tf.shape(hidden)[:-1], [self.vocabulary_size]], axis=0)
        return tf.reshape(tf.concat(parts, axis=1), shape)

    def compute_output_shape(self, input_shape):
        if isinstance(input_shape, list) and isinstance(input_shape[0], (list, tuple)):
            return tuple(input_shape[1])
        return (*input_shape[:-1], self.vocabulary_size)

    def compute_mask(self, inputs, mask=None):
        return mask[0] if isinstance(mask, (list, tuple)) else mask

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "cutoffs": self.cutoffs,
            "divisor": self.divisor,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _nats(labels, logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
