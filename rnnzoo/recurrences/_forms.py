"""Which form of a recurrence runs: the one place where that is chosen.

`"xla"`       forward loop and hand-written adjoint, each compiled by XLA, once per batch shard
`"adjoint"`   the same mathematics in plain TensorFlow loops
`"autodiff"`  the plain forward loop, differentiated by TensorFlow as often as asked
`"auto"`      one of these, by the rule of `choose`
`"forward"`   for Keras's own inference loops alone (`for_layer`): the compiled forward loop, with
              nothing saved; where that cannot be, the plain forward loop
"""

import functools

import tensorflow as tf

from rnnzoo import _checks, _keras

FORMS = ("auto", "xla", "adjoint", "autodiff")
COMPILED = ("xla", "forward")
PLAIN = ("auto", "adjoint", "autodiff")


def for_layer(form, training):
    """The form that a layer asks its recurrence for.

    In training what the user gave. At inference a graph may be one that is exported, and neither a
    custom gradient that captures a loop's intermediates nor a compiled function can be served: so
    `"auto"` is the plain loop, and compiled only inside Keras's own evaluate and predict. Inside
    Keras's fit a layer may be called with `training=False` too, and differentiated all the same:
    there a tape is recording, and the choice is that of training.
    """
    if training or form in ("adjoint", "autodiff"):
        return form
    in_keras = _keras.in_keras_loop()
    if in_keras and _keras.tape_may_record():
        return form
    return "forward" if form == "xla" or in_keras else "autodiff"


def choose(form, inputs, compiled_pays=True):
    """The form that runs for `inputs [B, T, F]`: one of `"xla"`, `"adjoint"`, `"autodiff"`, ...

    XLA where it works and pays: in a graph (an eager call would compile for every new length) with
    a known T, on a CPU, without replicas of a distribution strategy, which cannot compile.

    Args:
        form: one of `FORMS`, or `"forward"`.
        inputs: the tensor whose shape decides.
        compiled_pays: whether there is a compiled form, which there is only where it pays.

    Raises:
        ValueError: For an unknown form, for `"xla"` where T is unknown or 0 or XLA does not pay.
    """
    if form == "forward":
        return "forward" if compiled_pays and _compilable(inputs) else "autodiff"
    _checks.choice("form", form, FORMS if compiled_pays else PLAIN)
    if form == "xla" and not inputs.shape[1]:
        raise ValueError(
            '`form` must be "auto", "adjoint" or "autodiff" where the number of time steps is 0 or '
            f"not known when the graph is made. Received: form='xla', inputs of {inputs.shape}"
        )
    if form != "auto":
        return form
    pays = compiled_pays and not tf.executing_eagerly()
    return "xla" if pays and _compilable(inputs) else "adjoint"


def _compilable(inputs):
    known = bool(inputs.shape[1]) and inputs.shape[0] != 0
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    return known and not on_gpu and not tf.distribute.has_strategy() and xla_compiles()


@functools.cache
def xla_compiles():
    """Whether this TensorFlow has an XLA compiler for the CPU; some builds have none."""
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            return float(compiled(tf.negative)(tf.constant(1.0))) == -1.0
        except tf.errors.OpError:
            return False


@functools.cache
def compiled(function):
    """`function` compiled by XLA, made once: making one costs a trace and a compilation.

    Called from a graph that is not compiled itself, once per batch shard, it runs its shards on
    different threads; compiling the whole step would put them back in line.
    """
    return tf.function(function, jit_compile=True, autograph=False)
