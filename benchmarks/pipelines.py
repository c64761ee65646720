"""The share of a training step that is spent waiting for data, for every task at its full size.

The target ("must") is the one the project set itself.
"""

from benchmarks import _statistics
from benchmarks._processes import PeerFailed
from benchmarks._session import Peer, Row, Side, milliseconds
from rnnzoo import tasks

TITLE = "Input pipelines: the share of a training step spent waiting for data"
QUICK = ("copy", "digits")


def measure(session):
    for name in QUICK if session.quick else tasks.names():
        for iterators in ("one iterator", "two an epoch"):
            share(session, name, iterators, rounds=2 if session.quick else 5)
    arrays(session, {"task": "digits", "epochs": 3 if session.quick else 10})


def arrays(session, size):
    """Nothing was asked of these."""

    def side(name, source):
        return Side(name, "pipeline:epochs", {"source": source, **size})

    for what, source in (("one iterator", "one"), ("fit(task.train)", "task")):
        session.compare(
            "{epochs} epochs of fit on {task}, ".format(**size) + what,
            side("rnnzoo", source),
            [Peer(side("the same from NumPy arrays, Keras", "arrays"))],
        )


def share(session, task, iterators, rounds):
    row = Row(f"waiting for {task}, {iterators}, of a step", "the step", must=0.05)
    session.tell(row.what)
    kwargs = {"task": task, "seconds": 1.0, "iterators": iterators}
    side = Side("rnnzoo", "pipeline:waiting", kwargs)
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
