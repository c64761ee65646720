"""What the traced training graph of an LRU holds, which is what makes it fast."""

import pytest
import tensorflow as tf

from rnnzoo.layers import LRU
from rnnzoo.recurrences._forms import xla_compiles
from rnnzoo.recurrences.diagonal import diagonal, lru


@pytest.fixture(scope="module")
def weights():
    layer = LRU(3, state_size=4, seed=0)
    layer.build((8, 40, 5))
    return [tf.constant(v) for v in layer.cell.matrices()]


def operations(compute, arguments):
    """The types of all operations of a gradient's graph, in all functions but compiled ones."""

    @tf.function(autograph=False)
    def train(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss = tf.reduce_sum(compute(*arguments)[0] ** 2)
        return tape.gradient(loss, arguments)

    graph = train.get_concrete_function(*arguments).graph.as_graph_def()
    found = [node.op for node in graph.node]
    compiled = 0
    for function in graph.library.function:
        if function.attr["_XlaMustCompile"].b:
            compiled += 1
        found += [node.op for node in function.node_def]
    return found, compiled


@pytest.mark.parametrize("form", ["auto", "adjoint", "autodiff"])
def test_only_autodiff_stacks_what_its_loop_computes(weights, form):
    # The gradient of a While made by TensorFlow pushes every intermediate value on a list.
    x, state = tf.zeros([8, 40, 5]), tf.zeros([8, 4])
    found, compiled = operations(lambda *a: lru(*a, form=form), [x, state, state, *weights])
    assert ("TensorListPushBack" in found) == (form == "autodiff")
    assert ("TensorListPopBack" in found) == (form == "autodiff")
    assert compiled == 0
    if form != "autodiff":
        # Two forward, two for the inputs' gradient, one for each matrix; and three of the skip.
        assert found.count("MatMul") == 6 + 3


def has_compiler():
    return xla_compiles() and not tf.config.list_logical_devices("GPU")


@pytest.mark.parametrize("form", ["auto", "xla", "adjoint", "autodiff"])
def test_the_bare_recurrence_is_compiled_by_rule(form):
    z, state = tf.zeros([8, 40, 4]), tf.zeros([8, 4])
    arguments = [z, z, state, state, tf.zeros([4]), tf.zeros([4])]
    found, compiled = operations(lambda *a: diagonal(*a, form=form), arguments)
    assert (compiled > 0) == (form == "xla" or (form == "auto" and has_compiler()))
    assert ("TensorListPushBack" in found) == (form == "autodiff")
