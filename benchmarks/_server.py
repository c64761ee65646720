"""`rnnzoo serve` in a process of its own."""

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading

from benchmarks._processes import ROOT, PeerFailed

STARTED_S = 120.0
_LINE = re.compile(r"^(\S+) version (\d+): (\S+) and (\S+)$")


class ServerProcess:
    """A server of one folder on free ports, to be used in a `with` block.

    Attributes:
        model: the served name; `addresses` of it: `{"gRPC": ..., "REST": ...}`.
        lines: what it printed, a `queue.Queue`.
    """

    def __init__(self, folder, *options):
        command = [sys.executable, "-m", "rnnzoo", "serve", str(folder), *options]
        self._process = subprocess.Popen(
            [*command, "--grpc-port", "0", "--rest-port", "0"],
            cwd=ROOT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._wait_for_addresses()
        except BaseException:
            self.kill()
            raise

    def _read(self):
        for line in self._process.stdout:
            self.lines.put(line.rstrip())
        self.lines.put(None)

    def _wait_for_addresses(self):
        said = []
        with contextlib.suppress(queue.Empty):
            while (line := self.lines.get(timeout=STARTED_S)) is not None:
                found = _LINE.match(line)
                if found:
                    self.model = found[1]
                    self.addresses = {"gRPC": found[3], "REST": found[4]}
                    return
                said.append(line)
        raise PeerFailed(f"rnnzoo serve did not start: {' '.join(said[-3:])}")

    def end(self, timeout=30.0):
        """SIGTERM; its exit status."""
        self._process.terminate()
        return self._process.wait(timeout)

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
