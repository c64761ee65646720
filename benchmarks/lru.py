"""The LRU and its kin against the same in JAX, and the bare recurrence against moving its data.

The targets ("must", "aim") are those the project set itself for two cores and float32.
"""

from benchmarks._session import Peer, Side

TITLE = "LRU and diagonal recurrence"


def measure(session):
    # First, in fresh processes: after the longest layer the copy alone becomes a fifth faster.
    bare(session, {"batch": 4, "steps": 4_096 if session.quick else 16_384, "size": 128})
    lengths = (1_024, 4_096) if session.quick else (1_024, 4_096, 16_384, 65_536)
    for steps in lengths:
        layer(session, {"batch": 4, "steps": steps, "size": 128})
    kin(session, {"batch": 4, "steps": 1_024 if session.quick else 4_096, "size": 128})


def layer(session, size):
    def peer(kind, must, aim):
        return Peer(Side(f"JAX {kind}, jit", "with_jax:lru", {"kind": kind, **size}), must, aim)

    # Between 1,024 and 4,096 steps nothing was asked; 4,096 is held to what comes after it.
    must = 1.0 if size["steps"] <= 1_024 else 0.65
    session.compare(
        "LRU forward and backward, B={batch}, N=F={size}, T={steps:,}".format(**size),
        Side("rnnzoo", "with_rnnzoo:lru", size),
        [peer("scan", must, 0.5), peer("associative_scan", 0.5, 0.3)],
    )


def kin(session, size):
    """Nothing was asked of these."""
    layers = {"LRUBlock": "lru_block", "ComplexRNN": "complex_rnn", "LinearRNN": "linear_rnn"}
    for name, function in layers.items():
        session.compare(
            f"{name} forward and backward, " + "B={batch}, N=F={size}, T={steps:,}".format(**size),
            Side("rnnzoo", f"with_rnnzoo:{function}", size),
            [Peer(Side("JAX scan, jit", f"with_jax:{function}", size))],
        )


def bare(session, size):
    """Its inputs and outputs are two arrays each, real and imaginary parts."""
    one_way = Side("copy of the inputs alone", "memory:copies", {"arrays": 2, **size})
    both = Side("copy of inputs and outputs", "memory:copies", {"arrays": 4, **size})
    session.compare(
        "diagonal scan forward, B={batch}, N={size}, T={steps:,}".format(**size),
        Side("rnnzoo", "with_rnnzoo:diagonal", size),
        [Peer(both, must=2.0, aim=1.4), Peer(one_way)],
    )
