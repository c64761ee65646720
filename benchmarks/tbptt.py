"""Truncated BPTT: time of a chunk, and whether memory grows with the sequence.

The targets ("must", "aim") are those the project set itself for two cores and float32.
"""

from benchmarks import _memory
from benchmarks._session import Peer, Row, Side

TITLE = "Truncated back-propagation through time"


def measure(session):
    size = {"units": 128, "batch": 8, "features": 10, "chunk": 100}
    chunks = 5 if session.quick else 20
    at = {**size, "steps": chunks * size["chunk"]}
    session.compare(
        "TruncatedBPTT, a chunk of 100, B=8, H=128",
        Side("rnnzoo", "with_rnnzoo:truncated_bptt", at),
        [Peer(Side("stateful keras.layers.LSTM", "with_keras:stateful_chunks", at), 0.6, 0.4)],
        per=chunks,
    )
    words = {
        "batch": 20,
        "steps": 35,
        "units": 200,
        "vocabulary": 2_000 if session.quick else 33_278,
    }
    session.compare(
        "a chunk of 35 words of {vocabulary:,}, adaptive softmax, B={batch}".format(**words),
        Side("rnnzoo", "with_rnnzoo:words", {"softmax": "adaptive", **words}),
        [Peer(Side("the same, full softmax", "with_rnnzoo:words", {"softmax": "full", **words}))],
    )
    memory(session, size, *((10_000, 1_000) if session.quick else (100_000, 10_000)))


def memory(session, size, long, short):
    row = Row(
        f"TruncatedBPTT, added peak memory, T={long:,}",
        f"the same at T={short:,}",
        must=1.1,
        aim=1.02,
        measured="MB",
        settings=dict(size),
    )
    sides = [
        Side("rnnzoo", "with_rnnzoo:truncated_bptt", {**size, "steps": steps})
        for steps in (long, short)
    ]
    _memory.compare(session, row, *sides)
