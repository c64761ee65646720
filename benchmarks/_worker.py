"""The process that a peer runs in: requests as JSON lines on stdin, replies on stdout.

    {"do": "make", "target": "module:function", "kwargs": {...}} -> {"made": true}
    {"do": "run", "n": 5}                                        -> {"seconds": [...]}
    {"do": "value"}                                              -> {"value": ...}
    {"do": "peak", "n": 1}               -> {"resident": bytes, "peak": bytes, "seconds": [...]}

`function(**kwargs)` builds the workload and returns a call without arguments that runs it once and
returns when it is done; what it returns matters to "value" alone. A library that is not installed
gives `{"missing": its name}`, any other failure `{"error": type and message}`. The end of stdin
ends the process, so that no worker outlives the one who asks.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import sys
import time
import traceback


class Worker:
    """What is built now; `make` replaces it."""

    def __init__(self):
        self.call = None

    def make(self, target, kwargs):
        self.call = None
        module, _, function = target.partition(":")
        self.call = getattr(importlib.import_module(module), function)(**kwargs)
        return {"made": True}

    def run(self, n):
        seconds = []
        for _ in range(n):
            begin = time.perf_counter()
            self.call()
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}

    def value(self):
        """What a run returns, for workloads that measure themselves."""
        return {"value": self.call()}

    def peak(self, n):
        """The high-water mark of resident memory before `n` runs (data there already) and after.

        They must be the first runs: TensorFlow keeps for the next what one has used.
        """
        give_back_memory()
        forget_peak()
        resident = status_bytes("VmHWM")
        seconds = self.run(n)["seconds"]
        return {"resident": resident, "peak": status_bytes("VmHWM"), "seconds": seconds}


def give_back_memory():
    """Return freed memory to the system, where it would hide what the next run takes."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def forget_peak():
    """Set the high-water mark back to what is resident now, where the kernel lets us.

    Otherwise a peak while libraries were imported would hide what the workload adds.
    """
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def status_bytes(field):
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def answer(worker, request):
    what = request.pop("do")
    try:
        return getattr(worker, what)(**request)
    except ModuleNotFoundError as error:
        traceback.print_exc()
        return {"missing": error.name}
    except Exception as error:  # whatever a library raises is a reply, not the end
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    # Libraries print: what they write to stdout goes to stderr, replies have the pipe alone.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker()
    for line in sys.stdin:
        replies.write(json.dumps(answer(worker, json.loads(line))) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
