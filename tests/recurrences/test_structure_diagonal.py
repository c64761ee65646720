"""What the traced training graph of an LRU holds, which is what makes it fast."""

import pytest
import tensorflow as tf

from rnnzoo.layers import LRU
from rnnzoo.recurrences._loops import shard_count
from rnnzoo.recurrences.diagonal import lru


@pytest.fixture(scope="module")
def weights():
    layer = LRU(3, state_size=4, seed=0)
    layer.build((8, 40, 5))
    return [tf.constant(v) for v in layer.cell.matrices()]


def training_operations(weights, form):
    """The types of all operations of a gradient's graph, in all functions but compiled ones."""
    x, state = tf.zeros([8, 40, 5]), tf.zeros([8, 4])

    @tf.function(autograph=False)
    def train(x):
        with tf.GradientTape() as tape:
            tape.watch([x, *weights])
            loss = tf.reduce_sum(lru(x, state, state, *weights, form=form)[0] ** 2)
        return tape.gradient(loss, [x, *weights])

    graph = train.get_concrete_function(x).graph.as_graph_def()
    found = [node.op for node in graph.node]
    compiled = 0
    for function in graph.library.function:
        if function.attr["_XlaMustCompile"].b:
            compiled += 1
        found += [node.op for node in function.node_def]
    return found, compiled


@pytest.mark.parametrize("form", ["xla", "adjoint", "autodiff"])
def test_only_autodiff_stacks_what_its_loop_computes(weights, form):
    # The gradient of a While made by TensorFlow pushes every intermediate value on a list.
    found, compiled = training_operations(weights, form)
    assert ("TensorListPushBack" in found) == (form == "autodiff")
    assert ("TensorListPopBack" in found) == (form == "autodiff")
    assert (compiled > 0) == (form == "xla")


def test_six_large_products_in_every_shard(weights):
    # Two forward, two for the inputs' gradient, one for each matrix; and three of the skip.
    for form, shards in (("xla", shard_count(8)), ("adjoint", 1)):
        assert training_operations(weights, form)[0].count("MatMul") == 6 * shards + 3
