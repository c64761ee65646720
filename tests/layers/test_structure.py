"""The traced training graph of each layer: no loop differentiated by TensorFlow, few products.

Speed is not asserted by a clock but by what the graph holds. TensorFlow differentiates a loop by
pushing every intermediate on a list and popping it in a second loop; a hand-written adjoint has no
such lists. `form="autodiff"` and Keras's own layers show that the search finds them.
"""

import keras
import pytest
import tensorflow as tf

from rnnzoo.layers import LRU, HDetachLSTM, LinearRNN, LRUBlock, StableLSTM, StableRNN
from rnnzoo.recurrences import _forms
from rnnzoo.recurrences._loops import STEPS_PER_ITERATION

T, F, H = 12, 3, 8
FORMS = ["xla", "adjoint"]


def training_graph(layer, steps=T, batch=None):
    """Every graph of one training step: the step's own, and those of its functions."""
    head = keras.layers.Dense(2)
    layer.build((None, None, F))
    head.build((None, None, H))
    weights = layer.trainable_variables + head.trainable_variables

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(head(layer(x, training=True)) ** 2)
        return tape.gradient(loss, weights)

    traced = tf.function(step, autograph=False).get_concrete_function(
        tf.TensorSpec([batch, steps, F], tf.float32)
    )
    reached, waiting = {}, [traced.graph]
    while waiting:
        graph = waiting.pop()
        reached[graph.name] = graph
        for operation in graph.get_operations():
            for name in called(operation):
                if name not in reached:
                    waiting.append(graph._get_function(name).graph)
    return reached


def called(operation):
    """The names of the functions that an operation calls."""
    for name in ("f", "body", "then_branch", "else_branch"):
        try:
            yield operation.get_attr(name).name
        except ValueError:
            continue


def operations(graphs, kind):
    return [op for graph in graphs.values() for op in graph.get_operations() if op.type == kind]


def differentiated_loops(graphs):
    return operations(graphs, "TensorListPushBack") + operations(graphs, "TensorListPopBack")


def products(graphs, depth):
    """The products of rows of `depth` numbers with a matrix, outside of the weight gradients."""
    return [
        operation
        for operation in operations(graphs, "MatMul")
        if not operation.get_attr("transpose_a") and operation.inputs[0].shape[-1] == depth
    ]


def can_be_skipped(operation, graphs):
    """Whether it stands in a branch whose alternative has no product."""
    for choice in operations(graphs, "If") + operations(graphs, "StatelessIf"):
        branches = [choice.get_attr(f"{name}_branch").name for name in ("then", "else")]
        if operation.graph.name in branches:
            other = graphs[branches[1 - branches.index(operation.graph.name)]]
            return not any(op.type == "MatMul" for op in other.get_operations())
    return False


LAYERS = {
    "HDetachLSTM": lambda **options: HDetachLSTM(H, p=0.5, **options),
    "LinearRNN": lambda **options: LinearRNN(H, heads=2, **options),
    "StableLSTM": lambda **options: StableLSTM(H, **options),
    "StableRNN": lambda **options: StableRNN(H, **options),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", LAYERS)
def test_no_loop_is_differentiated_by_tensorflow(kind, form):
    layer = LAYERS[kind](form=form, return_sequences=True)
    assert not differentiated_loops(training_graph(layer))


@pytest.mark.parametrize("kind", [LRU, LRUBlock])
def test_no_loop_of_an_lru_is_differentiated_by_tensorflow(kind):
    assert not differentiated_loops(training_graph(kind(H, return_sequences=True)))


def loops(graphs):
    return operations(graphs, "While") + operations(graphs, "StatelessWhile")


@pytest.mark.parametrize("kind", [LRU, LRUBlock])
def test_an_lrus_last_state_of_few_features_has_no_loop(kind):
    features = F if kind is LRU else H
    assert features <= _forms.FEW_FEATURES
    assert not loops(training_graph(kind(H)))
    assert loops(training_graph(kind(H), steps=None))
    assert loops(training_graph(kind(H, form="adjoint")))
    assert loops(training_graph(kind(H, return_sequences=True)))


def test_an_lru_projects_its_last_state_alone():
    batch = 2
    for every in (False, True):
        layer = LRU(H, state_size=5, form="adjoint", return_sequences=every)
        outs = products(training_graph(layer, batch=batch), 2 * 5)
        rows = {op.outputs[0].shape[0] for op in outs if op.outputs[0].shape[1] == H}
        assert (rows == {batch}) == (not every)


def test_a_block_runs_what_follows_the_recurrence_on_the_last_step_alone():
    for every in (False, True):
        layer = LRUBlock(H, return_sequences=every)
        sigmoids = operations(training_graph(layer, batch=2), "Sigmoid")
        assert [op.outputs[0].shape for op in sigmoids] == [[2, T if every else 1, H]]


@pytest.mark.parametrize(
    "layer",
    [
        *(make(form="autodiff", return_sequences=True) for make in LAYERS.values()),
        LRU(H, form="autodiff", return_sequences=True),
        keras.layers.LSTM(H, return_sequences=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_search_finds_a_differentiated_loop(layer):
    assert differentiated_loops(training_graph(layer))


def test_compiled_lstms_have_one_recurrent_product_a_step_in_each_direction():
    for kind in ("HDetachLSTM", "StableLSTM"):
        graphs = training_graph(LAYERS[kind](form="xla", return_sequences=True))
        assert len(products(graphs, H + F + 1)) == 1
        halves = products(graphs, 2 * H)  # one product, in two halves of its depth
        assert len(halves) == 2
        assert all(can_be_skipped(half, graphs) for half in halves) == (kind == "HDetachLSTM")


def test_compiled_simple_rnns_have_one_recurrent_product_a_step_in_each_direction():
    graphs = training_graph(StableRNN(H, form="xla", return_sequences=True))
    assert len(products(graphs, H + F + 1)) == 1
    # Depth H: the product of the adjoint, and the inputs' gradient of a chunk.
    assert len(products(graphs, H)) == 1 + 1


def test_lstms_without_xla_have_one_recurrent_product_a_step_in_each_direction():
    steps = STEPS_PER_ITERATION  # they share an iteration of the loop
    for kind in ("HDetachLSTM", "StableLSTM"):
        layer = LAYERS[kind](form="adjoint", shards=1, return_sequences=True)
        graphs = training_graph(layer, steps=3 * steps)
        assert len(products(graphs, H + F + 1)) == steps
        # Depth 4H: the recurrent products, and the gradient of the inputs, one for all steps.
        backward = products(graphs, 4 * H)
        skipped = [op for op in backward if can_be_skipped(op, graphs)]
        if kind == "HDetachLSTM":  # two loops to choose from: some step is detached, or none
            assert (len(backward), len(skipped)) == (2 * steps + 1, steps)
        else:
            assert (len(backward), len(skipped)) == (steps + 1, 0)


def test_simple_rnns_without_xla_have_one_recurrent_product_a_step_in_each_direction():
    steps = STEPS_PER_ITERATION
    layer = StableRNN(H, form="adjoint", shards=1, return_sequences=True)
    graphs = training_graph(layer, steps=3 * steps)
    found = [op for op in operations(graphs, "MatMul") if op.inputs[1].shape == [H, H]]
    assert len(found) == 2 * steps
