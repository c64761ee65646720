"""What holding the spectral norm costs: the same training step with and without the constraint.

The targets ("must", "aim") are those the project set itself for two cores and float32. The cost
of a projection does not depend on the batch or on T, so the second size is where it weighs most.
"""

from benchmarks._session import Peer, Side

TITLE = "The constraint of StableRNN"
# At "boundary" all singular values start at the bound, and every step moves some of them beyond;
# "inside" the matrix starts at a tenth of it.
WHERE = ("boundary", "inside")


def measure(session):
    size = {"batch": 100, "steps": 784, "features": 10}
    if session.quick:
        size.update(batch=32, steps=100)
    for units in (128, 512):
        for where in WHERE:
            compare(session, {**size, "units": units, "where": where}, must=1.10, aim=1.05)
    if not session.quick:
        for where in WHERE:
            compare(
                session, {"batch": 32, "steps": 100, "features": 10, "units": 128, "where": where}
            )


def compare(session, at, must=None, aim=None):
    free = {**at, "constrained": False}
    session.compare(
        "StableRNN training, {where}, B={batch}, T={steps}, H={units}".format(**at),
        Side("rnnzoo", "with_rnnzoo:stable_rnn", {**at, "constrained": True}),
        [Peer(Side("the same without its constraint", "with_rnnzoo:stable_rnn", free), must, aim)],
    )
