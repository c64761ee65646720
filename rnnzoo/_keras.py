"""The one door to private names of Keras and TensorFlow.

Every private name that the package needs is used here and nowhere else, each by one function whose
docstring says what it is for and what breaks without it. `tests/test_keras.py` calls each against
the installed Keras and TensorFlow, and fails with that docstring; `tests/test_private_names.py`
reads the sources and holds that no other file touches such a name. What would fail silently where
a name is gone (a mask that is ignored, a gradient summed twice) raises `AttributeError` here.
"""

import contextlib

import keras
import tensorflow as tf

# Masks


def mask_of(tensor):
    """The mask that Keras has tied to a tensor, or None.

    For losses, metrics and streams, which get tensors and not masks. Without it padding would be
    scored, silently.
    """
    from keras.src.backend import get_keras_mask

    return get_keras_mask(tensor)


def set_mask(tensor, mask):
    """Tie a mask to a tensor, for Keras to find; None takes it off.

    For outputs that are put together from several calls, and for losses that leave out padding as
    Keras's `ignore_class` does. Without it Keras would average over padding, silently.
    """
    from keras.src.backend import set_keras_mask

    set_keras_mask(tensor, mask)


# Graphs of models


def functional_of_sequential(model):
    """The Functional model inside of a Sequential one; None before it is built.

    For all that reads a model's graph. Without it Sequential models could not be streamed,
    certified, cut or exported.
    """
    return model._functional


def is_functional(model):
    """Whether a model has a graph of layers.

    For the refusal of subclassed models by name, before anything is done with them.
    """
    return isinstance(model, keras.Model) and hasattr(model, "_run_through_graph")


def run_through_graph(functional, inputs, call):
    """Run a graph on new inputs, with `call(operation, *args, **kwargs)` for each of its nodes.

    For a model that is rewired: over the same weights, with explicit states or windows.
    """
    return functional._run_through_graph(inputs, call_fn=call)


def nodes(functional):
    """The graph's nodes, inputs among them, in an order in which they can be computed.

    For walks over the graph: certificates, diagnostics, exports.
    """
    by_depth = functional._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def node_that_made(tensor):
    """The node of the call that a symbolic tensor came from.

    For cutting a model in two at a tensor.
    """
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def last_input_shape(layer):
    """The shape of the first input of a layer's first call in a graph.

    For an export that needs the features of a layer which keeps no record of them itself.
    """
    return layer._inbound_nodes[0].input_tensors[0].shape


def flat_layers(model):
    """The model or layer itself and all layers inside of it, at any depth.

    For all that asks every layer: annealing, forms, seeds, checks of dtypes. `Model.layers` has the
    outermost only.
    """
    return model._flatten_layers()


def flat_inputs(functional, x):
    """Data for a Functional model as a flat list, in the order of its inputs.

    For models that are given dicts or nested inputs.
    """
    return functional._standardize_inputs(x)


# Layers


def takes_training(layer):
    """Whether a layer's call has the argument `training`.

    For calling cells, which need not have it. Without it they would run as in inference.
    """
    return layer._call_has_training_arg


def untrack(layer, value):
    """Take a variable or layer out of those that a layer calls its own.

    For twins of a layer that share its weights: counted in both, they would be trained twice.
    """
    layer._tracker.untrack(value)


def make_dropout_masks(layer, cell, inputs, states):
    """Draw the dropout masks that a cell of a recurrent layer uses in all steps of a call.

    For loops over the cell that are not Keras's own. Without it every step of an eager loop would
    share masks with the call before.
    """
    layer._maybe_config_dropout_masks(cell, inputs, states)


def forget_dropout_masks(layer, cell):
    """Forget a cell's dropout masks, at the end of a call.

    For the same loops. Without it the next call would drop the same units again, silently.
    """
    layer._maybe_reset_dropout_masks(cell)


class FullPrecisionStates:
    """Mixin, before `keras.layers.RNN`: a stateful layer keeps its states as they are.

    For states in float32 under mixed precision, which Keras would hand out as half. Without it
    a stateful linear recurrence would lose what it has summed, silently.
    """

    def _create_state_variables(self, batch_size):
        super()._create_state_variables(batch_size)
        for state in self.states:
            if not hasattr(state, "_autocast"):
                raise AttributeError("Keras's variables have no `_autocast` any more")
            state._autocast = False

    @property
    def stateful_batch(self):
        """The batch size that a stateful layer was built for, or None."""
        return self._expected_batch_size


# Training


def strategy_of(model):
    """The distribution strategy in whose scope a model was made, or None.

    For steps on several replicas. `Model.distribute_strategy` does not tell whether there is one.
    """
    return model._distribute_strategy


def loss_tracker(model):
    """The metric "loss" of a compiled model.

    For training steps of our own. Without it `fit` would report a loss of 0.
    """
    return model._loss_tracker


def compile_metrics(model):
    """The container of a compiled model's metrics, or None.

    For building them before the first stride, so that they can be averaged by steps.
    """
    return model._compile_metrics


def replace_symbolic_build(model, build):
    """Have `fit` and `evaluate` make a model's metrics by `build(iterator=, data_batch=)`.

    For several processes, where Keras's own way reduces a batch over all of them, and fails.
    """
    if not hasattr(model, "_maybe_symbolic_build"):
        raise AttributeError("Keras's models have no `_maybe_symbolic_build` any more")
    vars(model)["_maybe_symbolic_build"] = build


def symbolic_build(model, data_batch):
    """Make a model's metrics and losses from the shapes of a batch.

    For the same case.
    """
    model._symbolic_build(data_batch=data_batch)


@contextlib.contextmanager
def summed_gradients(optimizer):
    """While this lasts, an optimizer takes gradients as they are, and does not sum over replicas.

    For gradients that are summed already, weighted by time steps. Without it they would be summed
    twice, silently.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    name = "_all_reduce_sum_gradients"
    if not hasattr(inner, name):
        raise AttributeError(f"Keras's optimizers have no `{name}` any more")
    vars(inner)[name] = lambda pairs: pairs
    try:
        yield
    finally:
        del vars(inner)[name]


def set_direction(metric, direction):
    """Tell Keras whether more of a metric is better, "up" or "down".

    For `ModelCheckpoint(mode="auto")` and its kin. Without it they would refuse the metric.
    """
    if not hasattr(keras.metrics.MeanSquaredError(), "_direction"):
        raise AttributeError("Keras's metrics have no `_direction` any more")
    metric._direction = direction


def set_cardinality(dataset, batches):
    """Tell Keras how many batches a distributed data set has.

    For the progress of `fit`; TensorFlow's public way does not exist for distributed data sets.
    """
    dataset._cardinality = batches


def adam_moments(optimizer):
    """`[(variable, first moment, second moment)]` of Adam.

    For the effective learning rate.
    """
    return list(zip(optimizer._trainable_variables, optimizer._momentums, optimizer._velocities))


# Which graph is being made

# How the functions are called that Keras traces for fit, evaluate and predict.
KERAS_LOOPS = ("one_step_on_", "multi_step_on_")


def in_keras_loop():
    """Whether the graph being made is that of Keras's `fit`, `evaluate` or `predict`.

    For compiled inference, which an exported graph must not have. Without it inference in Keras's
    own loops would be the plain one, several times slower.
    """
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        if getattr(graph, "name", "").startswith(KERAS_LOOPS):
            return True
        graph = getattr(graph, "outer_graph", None)
    return False


def in_gradient_of_gradient():
    """Whether TensorFlow is tracing the gradient of a gradient that nobody has asked for yet.

    For refusing second derivatives when they run, not when they are built. Without it nested eager
    tapes that take first derivatives only would be refused.
    """
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return graph is not None and getattr(graph, "name", "").startswith("__backward_")


def under_xla():
    """Whether the graph being made is compiled by XLA as a whole; TensorFlow tells nobody else.

    For operations that XLA lacks. Without it `jit_compile=True` around our layers would fail.
    """
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def tape_may_record():
    """Whether a gradient tape is recording now.

    For calls with `training=False` that are differentiated all the same. Without it their gradient
    would go through TensorFlow's slow derivative of a loop.
    """
    from tensorflow.python.eager import record

    return record.could_possibly_record()


def dynamic_update_slice(target, update, start):
    """XLA's write of a slice at an index that is not known when the graph is made.

    For the compiled loops, which write where they stand; no public operation does.
    """
    from tensorflow.compiler.tf2xla.python.xla import dynamic_update_slice

    return dynamic_update_slice(target, update, start)


# Messages of TensorFlow's files and servers


def saved_model_message():
    """An empty message of the kind that `saved_model.pb` holds.

    For reading what a SavedModel has, without loading it.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel()


def data_type_names():
    """`{number: name}` of TensorFlow's types of data, as messages carry them: `{1: "DT_FLOAT"}`.

    For requests and replies of servers.
    """
    from tensorflow.core.framework import types_pb2

    return dict(zip(types_pb2.DataType.values(), types_pb2.DataType.keys()))
