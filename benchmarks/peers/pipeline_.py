"""How long training waits for its data."""

import time

import tensorflow as tf

from rnnzoo import _zoo, tasks
from rnnzoo.training import TruncatedBPTT

FEWEST = 5  # batches


def waiting(task, seconds, options=None):
    """Train the model of the task's published results for so long, batch by batch.

    A run gives the seconds that each batch was waited for, and those that it took in all. The wait
    is that of the iterator over `task.train`, which prefetches; it is asked from a graph, as `fit`
    does, and made anew each epoch, as `fit` does, which is part of the first batch's wait.
    """
    built = tasks.get(task, **options or {})
    model = built.build_model(_zoo.build(built.default_layer, built.default_units))
    if built.default_k1 is not None:
        model = TruncatedBPTT(model, built.default_k1, stateful=built.stream)
    model.compile(built.optimizer(), built.loss)
    batches = timed(built.train)
    model.train_on_batch(*next(batches)[1])  # traces and compiles

    def run():
        waits, steps, end = [], [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(waits) < FEWEST:
            wait, batch = next(batches)
            begin = time.perf_counter()
            model.train_on_batch(*batch)
            waits.append(wait)
            steps.append(wait + time.perf_counter() - begin)
        return {"waits": waits, "steps": steps}

    return run


def timed(dataset):
    """Endlessly `(seconds waited, batch)`."""

    @tf.function(autograph=False)
    def ask(iterator):
        begin = tf.timestamp()
        with tf.control_dependencies([begin]):
            batch = iterator.get_next()
        with tf.control_dependencies(tf.nest.flatten(batch)):
            return tf.timestamp() - begin, batch

    count = int(dataset.cardinality())
    while True:
        begin = time.perf_counter()
        iterator = iter(dataset)
        making = time.perf_counter() - begin
        for number in range(count):
            wait, batch = ask(iterator)
            yield float(wait) + (0.0 if number else making), batch
