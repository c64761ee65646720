"""Which graph is being made, who asks for it, and what XLA alone can do in it."""

import functools
import inspect
import warnings

import keras
import tensorflow as tf

# How the functions are called that Keras traces for fit, evaluate and predict.
KERAS_LOOPS = ("one_step_on_", "multi_step_on_")


def in_keras_loop():
    """Whether the graph being made is that of Keras's `fit`, `evaluate` or `predict`.

    For compiled inference, which an exported graph must not have. Without it inference in Keras's
    own loops would be the plain one, several times slower: a warning says so.
    """
    _check_loops()
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        if getattr(graph, "name", "").startswith(KERAS_LOOPS):
            return True
        graph = getattr(graph, "outer_graph", None)
    return False


@functools.cache
def _check_loops():
    """Warn once if what Keras traces has got other names."""
    made = inspect.unwrap(keras.Model.make_predict_function).__code__.co_consts
    names = [code.co_name for code in made if inspect.iscode(code)]
    if not any(name.startswith(KERAS_LOOPS) for name in names):
        warnings.warn(
            f"rnnzoo does not know the loops of this Keras, {names}: inference is slower in them.",
            stacklevel=2,
        )


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
