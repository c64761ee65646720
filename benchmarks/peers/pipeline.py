"""How long training waits for its data."""

import time

import tensorflow as tf

from rnnzoo import tasks, zoo
from rnnzoo.training import TruncatedBPTT

FEWEST = 5  # batches


def waiting(task, seconds, iterators, options=None):
    """Train the model of the task's published results for so long, batch by batch.

    A run gives the seconds that each batch was waited for, and those that it took in all. The wait
    is that of the iterator over `task.train`, which prefetches; it is asked from a graph, as `fit`
    does. `iterators` is "one iterator", which `fit(train.repeat(), steps_per_epoch=...)` keeps, or
    "two an epoch": Keras's `fit(train)` makes one at an epoch's begin and another, unused, at its
    end. Both are part of the first batch's wait.
    """
    built, model = _compiled(task, **options or {})
    batches = timed(built.train, iterators)
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


def epochs(task, source, epochs):
    """Epochs by Keras's `fit`.

    `source` is "task" (`task.train`), "one" (one iterator over `task.train.repeat()`) or "arrays"
    (the same sequences as NumPy arrays, shuffled and batched by Keras).
    """
    built, model = _compiled(task)
    given = {"x": built.train, "shuffle": False}
    if source == "one":
        batches = int(built.train.cardinality())
        given = {"x": built.train.repeat(), "steps_per_epoch": batches, "shuffle": False}
    elif source == "arrays":
        x, y = built.arrays("train")
        given = {"x": x, "y": y, "batch_size": built.batch_size}
    return lambda: model.fit(**given, epochs=epochs, verbose=0)


def _compiled(task, **options):
    built = tasks.get(task, **options)
    model = built.build_model(zoo.build(built.default_layer, built.default_units))
    if built.default_k1 is not None:
        model = TruncatedBPTT(model, built.default_k1, stateful=built.stream)
    model.compile(built.optimizer(), built.loss)
    return built, model


def timed(dataset, iterators):
    """Endlessly `(seconds waited, batch)`."""

    @tf.function(autograph=False)
    def ask(iterator):
        begin = tf.timestamp()
        with tf.control_dependencies([begin]):
            batch = iterator.get_next()
        with tf.control_dependencies(tf.nest.flatten(batch)):
            return tf.timestamp() - begin, batch

    count, one = int(dataset.cardinality()), iterators == "one iterator"
    iterator = iter(dataset.repeat()) if one else None
    while True:
        begin = time.perf_counter()
        if not one:
            iterator, _ = iter(dataset), iter(dataset)
        making = time.perf_counter() - begin
        for number in range(count):
            wait, batch = ask(iterator)
            yield float(wait) + (0.0 if number else making), batch
