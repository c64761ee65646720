"""Work in several processes at once, each on its share of the cores.

Each process is pinned to its own cores, so that the threads of one never wait for another's.
"""

import concurrent.futures
import multiprocessing
import os

from rnnzoo import _checks, _machine

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def shares(jobs):
    """The cores of each of so many processes: as equal as can be, none in two.

    >>> len(shares(1))
    1
    """
    cores = _machine.available()
    if _checks.integer("jobs", jobs) > len(cores):
        raise ValueError(f"`jobs` must be at most the {len(cores)} cores. Received: jobs={jobs}")
    return [cores[number::jobs] for number in range(jobs)]


def run(work, names, jobs):
    """Do `work(name)` for all names, `jobs` at once, and yield `(name, result)` as they end.

    Args:
        work: a function that can be pickled.
        names: what it is called with.
        jobs: processes, at most as many as there are cores.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow cannot be forked
    free = context.SimpleQueue()
    for share in shares(jobs):
        free.put(share)
    pool = concurrent.futures.ProcessPoolExecutor(jobs, context, _settle, (free,))
    try:
        futures = {pool.submit(work, name): name for name in names}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # what was begun is finished


def _settle(free):
    """Take a share of the cores, before TensorFlow counts them."""
    share = free.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    os.environ.update(dict.fromkeys(THREADS, str(len(share))))
    _machine.import_tensorflow()
