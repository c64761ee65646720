"""The least that an LSTM's call can take on this machine: its matrix products, and its gates.

The recurrent products run one after another in loops compiled by XLA, a loop a batch shard, as in
the package; what needs no order is one product. `products` computes no gate; `gates` computes the
nonlinearities of the forward pass too. Neither reads an input or keeps an output of a step.
"""

import os

import numpy as np
import tensorflow as tf

from benchmarks.peers import data


def gates(**options):
    """`products`, with five tanh, or sigmoids made of them, for each unit and step forward."""
    return products(**options, up=_gated)


def products(mode, units, batch, steps, features, depth=1, bidirectional=False, up=None):
    """The products of `depth` LSTM layers: forward, and for `mode="train"` those of the gradients.

    Forward: `[b, H] @ [H, 4H]` each step. Backward: `[b, 4H] @ [4H, H]` each step, and the weight
    gradient `[H + F + 1, T b] @ [T b, 4H]` at once. A layer on top of another, whose inputs are
    wide, has the product of its inputs in each of the three.
    """
    train = mode == "train"
    directions = 2 if bidirectional else 1
    loops = range(depth * directions)
    # Tensors of its own for each loop, or TensorFlow would compute equal products once.
    starts = [[_matrix(rows, units, 0.0) for rows in shard_rows(batch, units)] for _ in loops]
    forward = [_matrix(units, 4 * units) for _ in loops]
    backward = [_matrix(4 * units, units) for _ in loops]
    tall = [_matrix(steps * batch, 4 * units) for _ in loops]

    @tf.function(autograph=False)
    def run(starts, forward, backward, tall):
        results = []
        for number in loops:
            width = directions * units if number >= directions else 0
            results += [(up or _up)(h, forward[number], steps) for h in starts[number]]
            if train:
                results += [_down(h, backward[number], steps) for h in starts[number]]
            results += _at_once(tall[number], width, train, units + (width or features) + 1)
        return results

    return lambda: [value.numpy() for value in run(starts, forward, backward, tall)]


def windows(units, batch, steps, features, k):
    """The recurrent products of all windows, 2,000 rows at a time; the state 0 needs none."""
    del features
    rows = 2_000
    forward, start = _matrix(units, 4 * units), _matrix(rows, units)
    tiles = -(-batch * steps // rows)

    @tf.function(autograph=False)
    def tile():
        step = lambda h: tf.matmul(h, forward)[:, :units]  # noqa: E731
        return tf.while_loop(lambda t, h: t < k - 1, lambda t, h: (t + 1, step(h)), (0, start))[1]

    return lambda: [tile().numpy() for _ in range(tiles)]


def shard_rows(batch, units):
    """The rows of each shard: a shard a core, and one where few rows share a large matrix."""
    shards = 1 if batch < 16 and units >= 512 else min(os.cpu_count() or 1, batch)
    return [len(part) for part in np.array_split(np.arange(batch), shards)]


def _matrix(rows, columns, scale=1.0):
    values = data.sequences(1, rows, columns)[0]
    return tf.constant(values * np.float32(scale / np.sqrt(columns)))


@tf.function(jit_compile=True, autograph=False)
def _up(h, matrix, steps):
    def step(t, h):
        # All of the product is used, or XLA would compute a part of it alone.
        return t + 1, tf.add_n(tf.split(tf.matmul(h, matrix), 4, axis=1))

    return tf.while_loop(lambda t, h: t < steps, step, (0, h))[1]


@tf.function(jit_compile=True, autograph=False)
def _gated(h, matrix, steps):
    def step(t, h, c):
        i, f, g, o = tf.split(tf.tanh(tf.matmul(h, matrix)), 4, axis=1)
        c = 0.5 * ((f + 1.0) * c + (i + 1.0) * g)
        return t + 1, (o + 1.0) * tf.tanh(c), c

    return tf.while_loop(lambda t, h, c: t < steps, step, (0, h, tf.zeros_like(h)))[1]


@tf.function(jit_compile=True, autograph=False)
def _down(h, matrix, steps):
    def step(t, h):
        return t + 1, tf.matmul(tf.concat([h, h, h, h], 1), matrix)

    return tf.while_loop(lambda t, h: t < steps, step, (0, h))[1]


def _at_once(tall, width, train, gradient_rows):
    """The products that wait for no step."""
    gates = tall.shape[1]
    wide = [tf.matmul(tall[:, :width], tf.ones([width, gates]))] if width else []
    if not train:
        return wide
    if width:
        wide.append(tf.matmul(tall, tf.ones([gates, width])))
    left = tf.zeros([tall.shape[0], gradient_rows])
    return [*wide, tf.matmul(left, tall, transpose_a=True)]
