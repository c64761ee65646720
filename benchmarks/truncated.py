"""Windows: all of them at once by TruncatedWrapper, against a batch a window through Keras.

The targets ("must", "aim") are those the project set itself for two cores and float32.
"""

from benchmarks._session import Peer, Side

TITLE = "Truncated models"


def measure(session):
    size = {"units": 128, "batch": 32, "steps": 2_000, "features": 10, "k": 32}
    if session.quick:
        size.update(batch=8, steps=200)
    session.compare(
        "TruncatedWrapper(window, k={k}), B={batch}, T={steps:,}, H={units}".format(**size),
        Side("rnnzoo", "with_rnnzoo:window", size),
        [Peer(Side("windows one batch at a time, Keras", "with_keras:windows", size), 0.2, 0.05)],
    )
