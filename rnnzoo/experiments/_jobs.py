"""Cells of an experiment in several processes at once, each on its share of the cores.

The loops of a small model keep one core busy and a second one little: two cells that have a core
each are done sooner than one after the other on both.
"""

import concurrent.futures
import importlib
import multiprocessing
import os

from rnnzoo import _checks, _cores

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def shares(jobs):
    """The cores of each of so many processes: as equal as can be, none in two.

    >>> len(shares(1))
    1
    """
    cores = _cores.available()
    if _checks.integer("jobs", jobs) > len(cores):
        raise ValueError(f"`jobs` must be at most the {len(cores)} cores. Received: jobs={jobs}")
    return [cores[number::jobs] for number in range(jobs)]


def run(experiment, scale, names, out_dir, jobs):
    """Do these cells, `jobs` at once, and yield each one's name and what is kept, as they end.

    Args:
        experiment: the name of its module.
        scale: one of its scales.
        names: of cells.
        out_dir: the folder of the results.
        jobs: processes, at most as many as there are cores.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow cannot be forked
    free = context.SimpleQueue()
    for share in shares(jobs):
        free.put(share)
    pool = concurrent.futures.ProcessPoolExecutor(jobs, context, _settle, (free,))
    try:
        futures = {pool.submit(_do, experiment, scale, name, out_dir): name for name in names}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # the cells that were begun are finished and kept


def _settle(free):
    """Take a share of the cores, before TensorFlow counts them."""
    share = free.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    os.environ.update(dict.fromkeys(THREADS, str(len(share))))


def _do(experiment, scale, name, out_dir):
    import rich.console

    from rnnzoo.experiments import _experiment

    module = importlib.import_module(experiment)
    [cell] = [c for c in module.cells(module.SCALES[scale]) if c.name == name]
    _experiment.quiet()
    return _experiment.do(cell, out_dir, rich.console.Console(quiet=True))
