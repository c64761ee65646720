"""LSTMs: training and inference against torch.nn.LSTM, keras.layers.LSTM and the published loop.

The targets ("must", "aim") are those the project set itself for two cores and float32.
"""

import itertools

from benchmarks._session import LONG, Peer, Row, Side
from rnnzoo import _machine

TITLE = "LSTM layers"
MODES = {"train": "training", "infer": "inference"}
# One iteration of it is more than 10 s, so it gets few; and what one side saves for its adjoint,
# 11 values a unit and step, is 12 GB, so the sides take turns in memory too.
LARGEST = {"units": 512, "steps": 2000, "batch": 256}
LARGEST_BYTES = 16e9


def measure(session):
    size = {"units": 128, "batch": 100, "steps": 784, "features": 10}
    if session.quick:
        size.update(batch=32, steps=100)
    published_size(session, size)
    for steps in (35,) if session.quick else (35, 120):
        against_both(session, "train", "short sequences", {**size, "steps": steps})
    grid(session, size)
    variants(session, size)
    stable(session, size)


def ours(mode, size, **more):
    kind = {"kind": "hdetach_lstm", "options": {"p": 0.5}}
    return Side("rnnzoo", f"with_rnnzoo:{mode}", {**kind, **size, **more})


def torch(mode, size, **more):
    return Side("torch.nn.LSTM", f"with_torch:{mode}", {"kind": "lstm", **size, **more})


def keras(mode, size, **more):
    return Side("keras.layers.LSTM", f"with_keras:{mode}", {"kind": "lstm", **size, **more})


def where(size):
    return "B={batch}, T={steps}, H={units}".format(**size)


def published_size(session, size):
    loop = {"kind": "loop", "p": 0.5, **size}
    session.compare(
        f"HDetachLSTM(p=0.5) training, {where(size)}",
        ours("train", size),
        [
            Peer(torch("train", size), must=0.55, aim=0.40),
            Peer(keras("train", size), must=0.60, aim=0.45),
            Peer(Side("h-detach loop (torch)", "with_torch:train", loop), must=0.50, aim=0.33),
        ],
    )
    targets = {size["batch"]: (0.85, 0.60), 1: (1.0, 0.7)}
    for batch, (must, aim) in targets.items():
        at = {**size, "batch": batch}
        session.compare(
            f"HDetachLSTM inference, {where(at)}",
            ours("infer", at),
            [Peer(torch("infer", at), must, aim), Peer(keras("infer", at))],
        )


def against_both(session, mode, label, size, effort=None):
    peers = [Peer(side(mode, size), must=1.0, aim=0.7) for side in (torch, keras)]
    what = f"{label}, {MODES[mode]}, {where(size)}"
    session.compare(what, ours(mode, size), peers, effort=effort)


def grid(session, size):
    """Small and large, in units, steps and batch."""
    values = ((32,), (100,), (8,)) if session.quick else ((32, 512), (100, 2000), (8, 256))
    for units, steps, batch in itertools.product(*values):
        at = {**size, "units": units, "steps": steps, "batch": batch}
        largest = LARGEST.items() <= at.items()
        for mode in MODES:
            label = "size grid"
            if largest and mode == "train" and _machine.available_bytes() < LARGEST_BYTES:
                reason = f"less than {LARGEST_BYTES / 1e9:.0f} GB of memory are free"
                session.add(Row(f"{label}, training, {where(at)}", "both", 1.0, skipped=reason))
                continue
            against_both(session, mode, label, at, LONG if largest else None)


def variants(session, size):
    """What a mask, a second layer and the other direction cost."""
    shapes = {
        "masked": {"masked": True},
        "stacked": {"depth": 2},
        "Bidirectional": {"bidirectional": True},
    }
    for label, shape in shapes.items():
        session.compare(
            f"HDetachLSTM(p=0.5) training, {label}, {where(size)}",
            ours("train", size, **shape),
            [Peer(keras("train", size, **shape), must=0.7, aim=0.5)],
        )


def stable(session, size):
    simple = {"kind": "simple_rnn", **size}
    session.compare(
        f"StableRNN with its constraint, training, {where(size)}",
        Side("rnnzoo", "with_rnnzoo:train", {"kind": "stable_rnn", **size}),
        [Peer(Side("keras.layers.SimpleRNN", "with_keras:train", simple), must=1.0, aim=0.7)],
    )
