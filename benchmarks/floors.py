"""What missed targets leave room for: the products of the same call alone, and Keras's own cost.

"ours" is here not the package but the least that its call could take: its matrix products and
nothing else, or these and its gates (`peers/floor.py`), or the model with a Dense in the place of
the recurrent layer, which shows what Keras takes around it. Where two of them together are above
the target, no LSTM made of such parts can reach it; input products, masks and the writing of
outputs come on top.
"""

from benchmarks import lstm
from benchmarks._session import Peer, Side

TITLE = "Floors: the least that calls with a missed target can take"


def measure(session):
    size = {"units": 128, "batch": 100, "steps": 784, "features": 10}
    if session.quick:
        size.update(batch=16, steps=100)
    floor(session, "infer", {**size, "batch": 1}, lstm.torch, 1.0)
    for shape in ({"depth": 2}, {"bidirectional": True}):
        floor(session, "train", size, lstm.keras, 0.7, **shape)
    small = [{"batch": 8, "steps": 100, "units": 32}]
    if not session.quick:
        small += [
            {"batch": 256, "steps": 100, "units": 32},
            {"batch": 8, "steps": 2_000, "units": 32},
            {"batch": 8, "steps": 100, "units": 512},
            {"batch": 8, "steps": 2_000, "units": 512},
        ]
    for changed in small:
        for mode in lstm.MODES:
            at = {**size, **changed}
            floor(session, mode, at, lstm.torch, 1.0)
            around(session, mode, at)
    short = {**size, "steps": 35}
    floor(session, "train", short, lstm.torch, 1.0)
    around(session, "train", short)
    windows(session)


def floor(session, mode, size, peer, must, **shape):
    label = {"depth": "stacked, ", "bidirectional": "Bidirectional, "}
    label = "".join(label[name] for name in shape)
    for kind, words in (("products", "products alone"), ("gates", "products and gates alone")):
        session.compare(
            f"{words}, {lstm.MODES[mode]}, {label}{lstm.where(size)}",
            Side(words, f"floor:{kind}", {"mode": mode, **size, **shape}),
            [Peer(peer(mode, size, **shape), must=must)],
        )


def around(session, mode, size):
    """Keras's own cost, where calls are short."""
    session.compare(
        f"Dense for LSTM, {lstm.MODES[mode]}, {lstm.where(size)}",
        Side("keras", f"with_keras:{mode}", {"kind": "dense", **size}),
        [Peer(lstm.torch(mode, size), must=1.0)],
    )


def windows(session):
    size = {"units": 128, "batch": 32, "steps": 2_000, "features": 10, "k": 32}
    if session.quick:
        size.update(batch=8, steps=200)
    session.compare(
        "products alone, windows, k={k}, B={batch}, T={steps:,}, H={units}".format(**size),
        Side("products", "floor:windows", size),
        [Peer(Side("windows one batch at a time, Keras", "with_keras:windows", size), must=0.2)],
    )
