"""How cost grows: time and added peak memory against T, B, H and k, with fitted exponents."""

from benchmarks import _memory, _statistics, _surroundings
from benchmarks._processes import PeerFailed, PeerMissing
from benchmarks._session import Side

TITLE = "How cost grows"
BASE = {"units": 32, "batch": 8, "steps": 1_000, "features": 10}


def measure(session):
    for curve in quick_curves() if session.quick else curves():
        sweep(session, *curve)


def curves():
    """(what, axis, sizes, target, settings) of each line in the figure."""
    lengths = [100, 1_000, 10_000, 100_000]
    hdetach = {"kind": "hdetach_lstm", **BASE}
    return [
        ("HDetachLSTM training", "steps", lengths, "with_rnnzoo:train", hdetach),
        (
            "keras.layers.LSTM training",
            "steps",
            lengths[:3],
            "with_keras:train",
            {"kind": "lstm", **BASE},
        ),
        ("LRU forward and backward", "steps", lengths, "with_rnnzoo:lru", {"batch": 4, "size": 32}),
        (
            "TruncatedBPTT, chunks of 100",
            "steps",
            lengths,
            "with_rnnzoo:truncated_bptt",
            {**BASE, "chunk": 100},
        ),
        ("HDetachLSTM training", "batch", [8, 32, 128, 512], "with_rnnzoo:train", hdetach),
        (
            "HDetachLSTM training",
            "units",
            [32, 128, 512],
            "with_rnnzoo:train",
            {**hdetach, "steps": 200},
        ),
        (
            "TruncatedWrapper(window)",
            "k",
            [4, 16, 64, 256],
            "with_rnnzoo:window",
            {**BASE, "steps": 500},
        ),
    ]


def quick_curves():
    return [
        (
            "HDetachLSTM training",
            "steps",
            [100, 1_000],
            "with_rnnzoo:train",
            {"kind": "hdetach_lstm", **BASE},
        ),
        ("TruncatedWrapper(window)", "k", [4, 32], "with_rnnzoo:window", {**BASE, "steps": 100}),
    ]


def sweep(session, what, axis, sizes, target, settings):
    """A fresh process for every size: the memory its first run adds, the time of the later ones."""
    session.tell(f"{what} against {axis}")
    fixed = {name: value for name, value in settings.items() if name != axis}
    curve = {"what": what, "axis": axis, "settings": fixed, "sizes": [], "ms": [], "mb": []}
    for size in sizes:
        try:
            smallest, side = (Side(what, target, {**settings, axis: n}) for n in (sizes[0], size))
            added, seconds = _memory.added(session, side, runs=4, warm=smallest)
        except (PeerFailed, PeerMissing) as error:
            curve["ended_by"] = _surroundings.without_paths(f"{axis}={size}: {error}")
            break
        curve["sizes"].append(size)
        curve["ms"].append(_statistics.summary([1e3 * s for s in seconds[1:]]))
        curve["mb"].append(added / _memory.MB)
    if curve["sizes"]:
        times = [ms["median"] for ms in curve["ms"]]
        curve["time_exponent"] = _statistics.exponent(curve["sizes"], times)
        curve["memory_exponent"] = _statistics.exponent(curve["sizes"], curve["mb"])
    session.curves.append(curve)
    session.tell(curve)
