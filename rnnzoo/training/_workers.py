"""Workers, processes that train as one: those that `TF_CONFIG` names, or started on this machine.

Nothing here imports TensorFlow before `strategy` finds a `TF_CONFIG`.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

from rnnzoo import _checks

VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def configured():
    """How many workers `TF_CONFIG` in the environment names; None where it is not set.

    Raises:
        ValueError: it is not what TensorFlow needs.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        jobs = {job: list(addresses) for job, addresses in cluster.items()}
        kind, index = task["type"], task["index"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(_malformed(text, f"it cannot be read ({error!r})")) from error
    wrong = sorted(set(jobs) - {"chief", "worker"})
    addresses = [address for job in jobs.values() for address in job]
    bad = [a for a in addresses if not (isinstance(a, str) and re.fullmatch(r"\S+:\d+", a))]
    if wrong or not addresses or len(jobs.get("chief", [])) > 1:
        raise ValueError(_malformed(text, "its jobs must be workers and at most one chief"))
    if bad or len(set(addresses)) < len(addresses):
        raise ValueError(_malformed(text, "its addresses must be different, host:port each"))
    if kind not in jobs or type(index) is not int or not 0 <= index < len(jobs[kind]):
        raise ValueError(_malformed(text, "its task must be one of the cluster's"))
    return len(addresses)


def _malformed(text, reason):
    return f"`{VARIABLE}` must be like {_EXAMPLE}; {reason}. Received: {VARIABLE}={text}"


def strategy():
    """The strategy of the workers that `TF_CONFIG` names, or None where it is not set.

    TensorFlow makes it only before it has computed anything. It waits until all workers are there.
    """
    if configured() is None:
        return None
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()


def scope(of):
    """The scope of a strategy, or one that does nothing for None."""
    return contextlib.nullcontext() if of is None else of.scope()


def launch(count, arguments):
    """Run `rnnzoo ARGUMENTS` in `count` processes on this machine, which train as one.

    They listen on the loopback interface alone. The first one's output is shown.

    Args:
        count: how many, at least 1.
        arguments: list of words, ``["train", "copy", ...]``.

    Returns:
        False where there is nothing to start: in such a process, or for a single one.

    Raises:
        ChildProcessError: a worker has failed; the others are stopped.
    """
    _checks.integer("workers", count)
    there = configured()
    if there is not None:
        if there != count:
            raise ValueError(
                f"`workers` must be the number that {VARIABLE} names, {there}, or not be given. "
                f"Received: workers={count}"
            )
        return False
    if count == 1:
        return False
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    with contextlib.ExitStack() as stack:
        said = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in addresses[1:])]
        workers = []
        stack.callback(_stop, workers)
        for index, output in enumerate(said):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "rnnzoo", *arguments],
                    env={**os.environ, VARIABLE: config},
                    stdout=output,
                    stderr=output,
                    preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                )
            )
        _wait(workers, said)
    return True


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _end_with_parent():
    """Linux: the worker ends when the process that started it does, however that ends."""
    import ctypes
    import signal

    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _wait(workers, said):
    """Wait until all have ended well; the first that fails ends it."""
    while any(worker.poll() is None for worker in workers):
        if any(worker.poll() for worker in workers):
            break
        time.sleep(0.1)
    failed = [index for index, worker in enumerate(workers) if worker.returncode]
    if not failed:
        return
    index = failed[0]
    code = workers[index].returncode
    how = f"was ended by signal {-code}" if code < 0 else f"ended with the exit code {code}"
    words = ""
    if said[index] is not None:
        said[index].seek(0)
        lines = said[index].read().decode(errors="replace").split("\n")
        last = [line.strip() for line in lines if line.strip()]
        words = f" It said: {last[-1]}" if last else ""
    raise ChildProcessError(
        f"Worker {index} of {len(workers)} {how}; the others are stopped.{words} The same command "
        "goes on after the last epoch that was finished."
    )


def _stop(workers):
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
