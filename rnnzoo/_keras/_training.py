"""What Keras's `fit`, optimizers, metrics and data sets do for themselves."""

import contextlib

import keras


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


def variable_index(optimizer, variable):
    """Which of an optimizer's variables an update is of, as a position.

    For rates and decays by a weight's path: TensorFlow's updates hand over the variable below
    Keras's own, which has no path.
    """
    return optimizer._get_variable_index(variable)
