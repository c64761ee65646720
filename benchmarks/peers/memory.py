"""What moving the data alone costs."""

import tensorflow as tf

from benchmarks.peers import data


def copies(batch, steps, size, arrays):
    """Out-of-place copies of `arrays` arrays `[B, T, N]` on all cores, by TensorFlow."""
    given = [tf.constant(data.sequences(batch, steps, size, seed)) for seed in range(arrays)]

    @tf.function(autograph=False)
    def run(*tensors):
        return [tf.raw_ops.DeepCopy(x=tensor) for tensor in tensors]

    return lambda: run(*given)
