"""What a training step made of many strides needs: fair averages, and errors raised in a graph."""

import re

import keras
import tensorflow as tf

_OPEN, _CLOSE = "rnnzoo error <", ">"


class StepWeighted:
    """Averages that count a stride as often as it has steps.

    Keras's own means count samples, however many steps each has. From here to `finish` every one
    among `metrics` (but `without`) sees the stride alone; then it joins what was before. A metric
    with an `update_state` of its own, such as `RecallAccuracy`, counts as it sees fit.
    """

    def __init__(self, metrics, without, steps):
        self._steps, self._without = steps, without
        self._variables, self._before = [], []
        self.watch(metrics)

    def watch(self, metrics):
        """Further metrics, which were not there at the begin."""
        means = [metric for metric in _means(metrics) if metric is not self._without]
        for variable in (v for metric in means for v in (metric.total, metric.count)):
            self._variables.append(variable)
            self._before.append(tf.identity(tf.convert_to_tensor(variable)))
            variable.assign(tf.zeros_like(variable))

    def finish(self):
        for variable, before in zip(self._variables, self._before):
            stride = tf.convert_to_tensor(variable)
            variable.assign(before + stride * tf.cast(self._steps, stride.dtype))


def _means(metrics):
    own = (keras.metrics.Mean.update_state, keras.metrics.MeanMetricWrapper.update_state)
    for metric in metrics:
        if isinstance(metric, keras.metrics.Mean):
            if type(metric).update_state in own:
                yield metric
        else:
            yield from _means(getattr(metric, "metrics", []))


def stop_on(condition, message, *values):
    """Stop the graph with `message` and the values, where `condition`; returns control inputs."""
    text = tf.strings.join([_OPEN, message, _join(values), _CLOSE])
    operation = tf.debugging.Assert(tf.logical_not(condition), [text])
    return [] if operation is None else [operation]


def _join(values):
    return tf.strings.join([tf.strings.as_string(tf.convert_to_tensor(v)) for v in values], ", ")


def with_plain_errors(function):
    """`function`, raising what `stop_on` stops as FloatingPointError or ValueError."""

    def run(iterator):
        try:
            return function(iterator)
        except tf.errors.InvalidArgumentError as error:
            found = re.search(f"{_OPEN}(.*?){_CLOSE}", str(error), re.DOTALL)
            if not found:
                raise
            message = found.group(1)
        kind = FloatingPointError if "not finite" in message else ValueError
        raise kind(message)

    return run
