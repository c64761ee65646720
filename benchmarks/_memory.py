"""Added peak memory: the high-water mark of a fresh process, less its value with the data there."""

import numpy as np

from benchmarks import _statistics
from benchmarks._processes import PeerFailed, PeerMissing

MB = 1e6


def added(session, side, runs=1, warm=None):
    """Bytes that `runs` runs of `side` add at their peak, and the seconds of each run.

    The first run traces and compiles, which is part of both. What libraries take once, at the first
    use of anything, is not where a smaller side `warm` has run before in the same process.
    """
    with session.process() as process:
        if warm is not None:
            process.make(warm.function, warm.kwargs)
            process.run(1)
        process.make(side.function, side.kwargs)
        reply = process.ask("peak", n=runs)
    return reply["peak"] - reply["resident"], reply["seconds"]


def compare(session, row, ours, theirs):
    """Fill `row` with the added memory of two sides, in turns, in MB and as a ratio."""
    session.tell(row.what)
    rounds = 1 if session.quick else 3
    measured = ([], [])
    try:
        for _ in range(rounds):
            for values, side in zip(measured, (ours, theirs)):
                values.append([added(session, side)[0] / MB])
    except PeerMissing as error:
        row.skipped = f"{error.args[0]} is not installed"
    except PeerFailed as error:
        row.failed = str(error)
    else:
        row.value = _statistics.ratio_of_rounds(*measured)
        row.ours, row.theirs = (_statistics.summary(np.concatenate(v)) for v in measured)
        row.settings["rounds"] = rounds
    session.add(row)
