"""The asking side of `_worker`: starting workers, talking to them, ending them."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GRACE_S = 2.0


class PeerMissing(Exception):
    """A library is not installed; `args[0]` is its name."""


class PeerFailed(Exception):
    """A peer raised, or its process ended."""


class Process:
    """One worker process.

    Args:
        gpu: whether it may see a GPU. Without, TensorFlow, torch and JAX run on the CPU.
    """

    def __init__(self, gpu=False):
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
        if not gpu:
            env.update(CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `end`)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._worker"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its workers
        )

    def ask(self, do, **request):
        """Send a request and wait for the reply.

        Raises:
            PeerMissing, PeerFailed: as the reply says, or if there is none.
        """
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailed(f"the worker process ended: {self._last_words()}")
        reply = json.loads(line)
        if "missing" in reply:
            raise PeerMissing(reply["missing"])
        if "error" in reply:
            raise PeerFailed(reply["error"])
        return reply

    def make(self, target, kwargs):
        return self.ask("make", target=target, kwargs=kwargs)

    def run(self, n):
        return self.ask("run", n=n)["seconds"]

    def value(self, target, kwargs):
        """Make a workload that measures itself, run it once: what it returns."""
        self.make(target, kwargs)
        return self.ask("value")["value"]

    def _last_words(self):
        self._process.wait(GRACE_S)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        code = self._process.returncode
        return f"exit status {code}" + (f", {lines[-1].strip()}" if lines else "")

    def end(self):
        """End the process, whatever it does now."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def in_worker(target, **kwargs):
    """`Process.value` of a fresh process."""
    with Process() as process:
        return process.value(target, kwargs)


class Pool:
    """Workers kept alive from one comparison to the next, one for each seat at the table."""

    def __init__(self, gpu=False):
        self._gpu = gpu
        self._processes = {}

    def get(self, seat):
        if seat not in self._processes:
            self._processes[seat] = Process(self._gpu)
        return self._processes[seat]

    def drop(self, seat):
        """End a worker whose state cannot be trusted any more."""
        if seat in self._processes:
            self._processes.pop(seat).end()

    def end(self):
        for seat in list(self._processes):
            self.drop(seat)
