"""How long training waits for its data."""

import time

from rnnzoo import _zoo, tasks
from rnnzoo.training import TruncatedBPTT

FEWEST = 5  # batches


def waiting(task, seconds, options=None):
    """Train the model of the task's published results for so long, batch by batch.

    A run gives the seconds that each batch was waited for, and those that it took in all. The wait
    is the time of `next` on the iterator over `task.train`, which prefetches as under `fit`.
    """
    built = tasks.get(task, **options or {})
    model = built.build_model(_zoo.build(built.default_layer, built.default_units))
    if built.default_k1 is not None:
        model = TruncatedBPTT(model, built.default_k1, stateful=built.stream)
    model.compile(built.optimizer(), built.loss)
    batches = forever(built.train)
    model.train_on_batch(*next(batches))  # traces and compiles

    def run():
        waits, steps, end = [], [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(waits) < FEWEST:
            begin = time.perf_counter()
            batch = next(batches)
            waits.append(time.perf_counter() - begin)
            model.train_on_batch(*batch)
            steps.append(time.perf_counter() - begin)
        return {"waits": waits, "steps": steps}

    return run


def forever(dataset):
    while True:
        yield from dataset
