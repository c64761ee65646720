"""What comes before the first useful step: importing, tracing, compiling.

The targets ("must", "aim") are those the project set itself for two cores.
"""

from benchmarks import _statistics
from benchmarks._processes import PeerFailed
from benchmarks._session import Peer, Row, Side, milliseconds

TITLE = "Start-up"


def measure(session):
    importing(session, rounds=2 if session.quick else 7)
    first_step(session, rounds=1 if session.quick else 3)


def importing(session, rounds):
    """In fresh processes; the time of `import rnnzoo`, its layers used, once keras is there."""
    row = Row("import rnnzoo, beyond import keras", "-", must=0.15, aim=0.05, unit="s")
    session.tell(row.what)
    side = Side("rnnzoo", "startup:after_keras")
    try:
        seconds = [_first_run(session, side) for _ in range(rounds)]
    except PeerFailed as error:
        row.failed = str(error)
    else:
        row.value = _statistics.summary(seconds)
        row.ours = milliseconds([seconds])
        row.settings["rounds"] = rounds
    session.add(row)


def first_step(session, rounds):
    size = {"units": 128, "batch": 100, "steps": 784, "features": 10}
    if session.quick:
        size.update(batch=32, steps=100)
    ours = Side("rnnzoo", "with_rnnzoo:first_fit", {"kind": "hdetach_lstm", **size})
    theirs = Side("keras.layers.LSTM", "with_keras:first_fit", {"kind": "lstm", **size})
    peer = Peer(theirs, must=2.0, aim=1.0)
    row = Row(
        "first fit step of HDetachLSTM, B={batch}, T={steps}, H={units}".format(**size),
        peer.side.name,
        peer.must,
        peer.aim,
        settings={**ours.kwargs, "rounds": rounds},
    )
    session.tell(row.what)
    measured = ([], [])
    try:
        for _ in range(rounds):
            for seconds, side in zip(measured, (ours, peer.side)):
                seconds.append([_first_run(session, side)])
    except PeerFailed as error:
        row.failed = str(error)
    else:
        row.value = _statistics.ratio_of_rounds(*measured)
        row.ours, row.theirs = (milliseconds(seconds) for seconds in measured)
    session.add(row)


def _first_run(session, side):
    """Seconds of the first run in a fresh process."""
    with session.process() as process:
        process.make(side.function, side.kwargs)
        return process.run(1)[0]
