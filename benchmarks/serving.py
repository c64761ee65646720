"""A served model: latency and throughput of one step, by every way there is to it.

    python -m benchmarks serving [--quick] [--out results/serving]
    python -m benchmarks serving --soak 3600

In process, in the C++ loader of `examples/serving_cpp`, in ONNX Runtime, and over gRPC and REST
from `rnnzoo serve` to clients in another process. Server and clients are Python and share the
machine: the numbers say what this package's parts cost, not what TensorFlow Serving can do.
"""

import json
import pathlib
import subprocess
import tempfile

from benchmarks import _report, _serving_report, _soak, _surroundings
from benchmarks._processes import ROOT, PeerFailed, PeerMissing, Process, in_worker
from benchmarks._server import ServerProcess

TITLE = "Serving: one step of an LSTM of 128 units"
SIZE = {"units": 128, "features": 10}
LOADER = ROOT / "examples" / "serving_cpp" / "loader"
WORKLOADS = "benchmarks.peers.serving"
STREAMS, ROWS = (1, 4, 16, 64), (16, 256)


class Measured(list):
    """Results, each with its way; what cannot be measured says why in `skipped`."""

    def __init__(self, tell):
        super().__init__()
        self.skipped = {}
        self._tell = tell

    def take(self, way, measure, **arguments):
        """Note what `measure(**arguments)` returns, or why it does not."""
        try:
            result = {"way": way, **measure(**arguments)}
        except PeerMissing as error:
            self.skipped[way] = f"{error.args[0]} is not installed"
        except (PeerFailed, FileNotFoundError) as error:
            self.skipped[way] = _surroundings.without_paths(str(error))
        else:
            self._tell(_serving_report.line(result))
            self.append(result)


def run(quick, folder, tell):
    """Measure everything; writes serving.json, serving.png and README.md to `folder`."""
    seconds = 0.5 if quick else 1.5
    measured = Measured(tell)
    with tempfile.TemporaryDirectory() as temporary:
        version = in_worker(f"{WORKLOADS}:exported", folder=f"{temporary}/lstm", **SIZE)
        alone = {"features": SIZE["features"], "rows": 1, "seconds": seconds}
        in_process = {"target": f"{WORKLOADS}:in_process", "folder": version, **alone}
        measured.take("in process", in_worker, **in_process)
        measured.take("C++ loader", in_cpp, version=version, calls=200 if quick else 5000)
        onnx = {"target": f"{WORKLOADS}:onnx", "folder": f"{temporary}/onnx", **alone}
        measured.take("ONNX Runtime", in_worker, units=SIZE["units"], **onnx)
        with ServerProcess(f"{temporary}/lstm") as server:
            over_the_wire(server, measured, seconds, STREAMS[:2] if quick else STREAMS)
    result = {
        "name": "serving",
        "title": TITLE,
        "command": "python -m benchmarks serving" + (" --quick" if quick else ""),
        "quick": quick,
        "machine": _surroundings.describe(),
        "model": SIZE,
        "measured": list(measured),
        "skipped": measured.skipped,
    }
    _report.write_json(folder / "serving.json", result)
    _serving_report.draw(folder / "serving.png", result)
    _serving_report.write_readme(folder)
    for way, reason in result["skipped"].items():
        tell(f"skipped: {way}: {reason}")
    return {"in process", *server.addresses} <= {result["way"] for result in measured}


def over_the_wire(server, measured, seconds, counts):
    """One stream; many at once; many rows in one call: over gRPC and over REST."""
    for way, address in server.addresses.items():
        with Process() as clients:
            given = {"address": address, "model": server.model, "features": SIZE["features"]}
            for count, rows in [*((count, 1) for count in counts), *((1, rows) for rows in ROWS)]:
                given.update(count=count, rows=rows, seconds=seconds)
                measured.take(way, clients.value, target=f"{WORKLOADS}:streams", kwargs=given)


def in_cpp(version, calls):
    """The step in the C++ loader, which must have been built."""
    if not LOADER.is_file():
        raise FileNotFoundError(
            f"{LOADER.relative_to(ROOT)} is not built: make -C {LOADER.parent.relative_to(ROOT)}"
        )
    command = [LOADER, version, "--rows", "1", "--benchmark", str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise PeerFailed(f"{LOADER.name}: {done.stderr.strip()}")
    found = json.loads(done.stdout.splitlines()[-1])
    per_second = 1e6 / found["mean_us"]
    return {
        "calls": found["calls"],
        "rows": 1,
        "seconds": found["calls"] / per_second,
        "p50_ms": found["p50_us"] / 1e3,
        "p99_ms": found["p99_us"] / 1e3,
        "calls_per_s": per_second,
        "steps_per_s": per_second,
    }


def main(quick, soak, out, tell):
    """What `python -m benchmarks serving` does; False if something grew or went wrong."""
    folder = pathlib.Path(out or "results/serving") / ("quick" if quick else "")
    if soak is None:
        return run(quick, folder, tell)
    return _soak.run(soak, folder, tell)
