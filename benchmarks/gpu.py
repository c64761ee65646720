"""On a GPU: the LSTM and the LRU against the same peers; skipped where TensorFlow finds none."""

from benchmarks._processes import PeerFailed, PeerMissing
from benchmarks._session import Peer, Side

TITLE = "On a GPU"
GPU = True


def measure(session):
    with session.process() as process:
        try:
            process.make("benchmarks.peers.gpu:need_one", {})
        except (PeerFailed, PeerMissing) as error:
            session.skipped = str(error).removeprefix("NoGPU: ")
            return
    size = {"units": 128, "batch": 100, "steps": 784, "features": 10}
    if session.quick:
        size.update(batch=32, steps=100)
    for mode, label in {"train": "training", "infer": "inference"}.items():
        session.compare(
            "HDetachLSTM {}, B={batch}, T={steps}, H={units}".format(label, **size),
            Side("rnnzoo", f"with_rnnzoo:{mode}", {"kind": "hdetach_lstm", **size}),
            [
                Peer(Side("keras.layers.LSTM", f"with_keras:{mode}", {"kind": "lstm", **size})),
                Peer(
                    Side(
                        "torch.nn.LSTM",
                        f"with_torch:{mode}",
                        {"kind": "lstm", "device": "cuda", **size},
                    )
                ),
            ],
        )
    for steps in (1_024,) if session.quick else (1_024, 16_384, 65_536):
        at = {"batch": 4, "steps": steps, "size": 128}
        session.compare(
            f"LRU forward and backward, B=4, N=F=128, T={steps:,}",
            Side("rnnzoo", "with_rnnzoo:lru", at),
            [
                Peer(Side(f"JAX {kind}, jit", "with_jax:lru", {"kind": kind, **at}))
                for kind in ("scan", "associative_scan")
            ],
        )
