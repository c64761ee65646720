"""A server under streams and broken requests for long: its memory, and its answers.

Every stream sends the same steps again and again, each time from the zero state, so that a second
pass must give the answers of the first.
"""

import itertools
import pathlib
import random
import tempfile
import threading
import time
import urllib.error
import urllib.request

import numpy as np

from benchmarks import _report, _serving_report, _surroundings
from benchmarks._processes import in_worker
from benchmarks._server import ServerProcess

TITLE = "Memory of a server under load"
SIZE = {"units": 32, "features": 4}
STEPS, STREAMS_EACH, SAMPLES = 20, 3, 600
GROWTH = 0.05  # of the memory, from the second tenth of the time to the last


def run(seconds, folder, tell):
    """Write soak.json and soak.png; False if memory grew or an answer differed."""
    with tempfile.TemporaryDirectory() as temporary:
        in_worker("benchmarks.peers.serving:exported", folder=f"{temporary}/lstm", **SIZE)
        with ServerProcess(f"{temporary}/lstm") as server:
            result = soak(server, seconds, tell=tell)
    result["machine"] = _surroundings.describe()
    _report.write_json(folder / "soak.json", result)
    _serving_report.draw_soak(folder / "soak.png", result)
    _serving_report.write_readme(folder)
    tell(_serving_report.soak_markdown(result))
    return not result["wrong"] and result["late_mb"] < (1 + GROWTH) * result["early_mb"]


def soak(server, seconds, features=SIZE["features"], tell=lambda text: None):
    """Load `server`, a `ServerProcess`, and watch it."""
    ended, counts = threading.Event(), _Counts()
    threads = [
        threading.Thread(target=_stream, args=(server, way, seed, features, ended, counts))
        for way in server.addresses
        for seed in range(STREAMS_EACH)
    ]
    threads.append(threading.Thread(target=_breaker, args=(server, ended, counts)))
    for thread in threads:
        thread.start()
    begin, times, memory = time.monotonic(), [], []
    try:
        while (now := time.monotonic() - begin) < seconds:
            times.append(round(now, 1))
            memory.append(round(resident(server.pid) / 1e6, 2))
            if len(times) % 60 == 0:
                tell(f"{now / 60:.1f} minutes: {memory[-1]:.1f} MB, {counts.answered}")
            ended.wait(max(seconds / SAMPLES, 0.2))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    tenth = max(len(memory) // 10, 1)
    return {
        "name": "soak",
        "title": TITLE,
        "command": f"python -m benchmarks serving --soak {seconds:g}",
        "model": SIZE,
        "seconds": seconds,
        "streams": STREAMS_EACH * len(server.addresses),
        "answered": counts.answered,
        "broken": counts.broken,
        "wrong": counts.wrong,
        "early_mb": float(np.median(memory[tenth : 2 * tenth])),
        "late_mb": float(np.median(memory[-tenth:])),
        "times_s": times,
        "memory_mb": memory,
    }


class _Counts:
    def __init__(self):
        self.answered, self.broken, self.wrong = {}, 0, 0
        self._lock = threading.Lock()

    def note(self, way, wrong):
        with self._lock:
            self.answered[way] = self.answered.get(way, 0) + 1
            self.wrong += wrong


def _stream(server, way, seed, features, ended, counts):
    from rnnzoo.serving import Stream

    x = np.random.default_rng(seed).normal(size=(STEPS, 2, features))
    first = []
    with Stream(server.addresses[way], server.model, rows=2, deadline=60, reconnect=10) as stream:
        for number in itertools.count():
            if ended.is_set():
                return
            if number % STEPS == 0:
                stream.reset()
            y = stream.send(x[number % STEPS])
            if number < STEPS:
                first.append(y)
            counts.note(way, not np.allclose(y, first[number % STEPS], rtol=1e-5, atol=1e-6))


def _breaker(server, ended, counts):
    """What no server should be sent, some twenty times a second."""
    import grpc

    draw = random.Random(0)
    url = f"{server.addresses['REST']}/v1/models/{server.model}:predict"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with grpc.insecure_channel(server.addresses["gRPC"]) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        while not ended.wait(0.05):
            junk = draw.randbytes(draw.randrange(200))
            try:
                predict(junk, timeout=20)
            except grpc.RpcError:
                counts.broken += 1
            try:
                opener.open(url, junk, timeout=20).close()
            except urllib.error.HTTPError as error:
                error.close()
                counts.broken += 1


def resident(pid):
    """Bytes of a process that are in memory. Linux only."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
