"""The share of a training step that is spent waiting for data, for every task at its full size.

The target ("must") is the one the project set itself.
"""

from benchmarks import _statistics
from benchmarks._processes import PeerFailed
from benchmarks._session import Row, Side, milliseconds
from rnnzoo import tasks

TITLE = "Input pipelines: the share of a training step spent waiting for data"
QUICK = ("copy", "digits")


def measure(session):
    for name in QUICK if session.quick else tasks.names():
        share(session, name, rounds=2 if session.quick else 5)


def share(session, task, rounds):
    row = Row(f"waiting for {task}, of a step of its published model", "the step", must=0.05)
    session.tell(row.what)
    side = Side("rnnzoo", "pipeline_:waiting", {"task": task, "seconds": 1.0})
    row.settings.update(side.kwargs, rounds=rounds)
    try:
        with session.process() as process:
            process.make(side.function, side.kwargs)
            measured = [process.ask("value")["value"] for _ in range(rounds)]
    except PeerFailed as error:
        # Data that is not there is no failure of the measurement.
        missing = str(error).startswith("DataError")
        setattr(row, "skipped" if missing else "failed", str(error))
    else:
        # Of a round's whole time: one long wait among many batches counts too.
        row.value = _statistics.summary([sum(r["waits"]) / sum(r["steps"]) for r in measured])
        row.ours, row.theirs = (
            milliseconds([r[name] for r in measured]) for name in ("waits", "steps")
        )
    session.add(row)
