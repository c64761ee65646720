"""Which form of a recurrence runs, chosen by shapes and devices alone."""

import functools

import tensorflow as tf

# Every form that runs. Callers may name one of `GIVEN`; "xla_forward" is for layers, which ask for
# it in Keras's evaluate and predict, and "powers" is what `lru_last` runs where `powers_pay`.
FORMS = {
    "xla": "the forward loop and a hand-written adjoint, compiled by XLA for each batch shard",
    "adjoint": "the forward loop and the same adjoint in TensorFlow's loops; differentiable once",
    "plain": "the forward loop alone in TensorFlow's loops; differentiable as often as asked",
    "xla_forward": "the forward loop alone, compiled by XLA; not differentiable",
    "powers": "no loop: the last state alone, a product of the inputs with the powers of lambda",
}
GIVEN = ("auto", "xla", "adjoint", "plain")  # "auto": one of the first two, by `choose`
COMPILED = ("xla", "xla_forward")
OLDER_NAMES = {"autodiff": "plain"}  # arguments and saved configurations may have them
FEW_FEATURES = 8  # the product with the powers costs F times as much, the loop hardly more


def check(form, xla=True):
    """`form` as it is given, if it is one that callers may name; `xla`: whether there is "xla"."""
    names = [name for name in GIVEN if xla or name != "xla"]
    if type(form) is not str or form not in (*names, *OLDER_NAMES):
        older = [f"{old!r} is an older name of {new!r}" for old, new in OLDER_NAMES.items()]
        raise ValueError(
            f"`form` must be one of {', '.join(map(repr, names))} ({', '.join(older)}). "
            f"Received: form={form!r}"
        )
    return form


def current(form):
    """Today's name of a form that is given by an older one."""
    return OLDER_NAMES.get(form, form) if isinstance(form, str) else form


def choose(form, inputs, compiled_pays=True):
    """The form that runs for `inputs [B, T, F]`, one of `FORMS`.

    XLA where it works and pays: in a graph (an eager call would compile for every new length) with
    a known T, on a CPU, without replicas of a distribution strategy, which cannot compile.

    Args:
        form: one of `GIVEN`, an older name, or `"xla_forward"`, which is `"plain"` where XLA does
            not work.
        inputs: the tensor whose shape decides.
        compiled_pays: whether there are compiled forms, which there are only where they pay.

    Raises:
        ValueError: For an unknown form, for `"xla"` where T is unknown or 0 or XLA does not pay.
    """
    if form == "xla_forward":
        return form if compiled_pays and _compilable(inputs) else "plain"
    form = current(check(form, xla=compiled_pays))
    if form == "xla" and not inputs.shape[1]:
        raise ValueError(
            '`form` must be "auto", "adjoint" or "plain" where the number of time steps is 0 or '
            f"not known when the graph is made. Received: form='xla', inputs of {inputs.shape}"
        )
    if form != "auto":
        return form
    pays = compiled_pays and not tf.executing_eagerly()
    return "xla" if pays and _compilable(inputs) else "adjoint"


def powers_pay(inputs):
    """Whether the last state of a diagonal recurrence on `inputs [B, T, F]` needs no loop.

    The table of powers is made with the graph, so T must be known; it is no larger than the states
    that a loop would keep. It can be differentiated as often as asked, and exported.
    """
    return bool(inputs.shape[1]) and inputs.shape[2] <= FEW_FEATURES


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
