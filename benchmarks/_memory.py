"""Added peak memory: the high-water mark of a fresh process, less its value with the data there."""

import numpy as np

from benchmarks import _statistics
from benchmarks._processes import PeerFailed, PeerMissing

MB = 1e6


def added(session, side, runs=1, before=0):
    """Bytes that `runs` runs of `side` add at their peak, and the seconds of each run.

    The first run traces and compiles, and what that takes is part of it unless it is among those
    that come `before`.
    """
    with session.process() as process:
        process.make(side.function, side.kwargs)
        reply = process.ask("peak", n=runs, before=before)
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
