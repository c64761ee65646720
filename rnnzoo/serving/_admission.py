"""How many requests compute, how many wait, and that none is lost when the server ends."""

import contextlib
import threading

from rnnzoo.serving.errors import ServingError


class Admission:
    """At most `workers` requests compute and `queue` wait; further ones are refused at once."""

    def __init__(self, workers, queue):
        self.places = workers + queue
        self._workers = threading.Semaphore(workers)
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextlib.contextmanager
    def place(self):
        """A place for one request, from its arrival to its answer."""
        with self._changed:
            if self._closed:
                raise ServingError("UNAVAILABLE", "The server is ending.")
            if self._inside >= self.places:
                raise ServingError(
                    "UNAVAILABLE", f"The queue is full: {self.places} requests are in hand."
                )
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def worker(self, timeout):
        """A turn to compute, within `timeout` seconds."""
        if not self._workers.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise ServingError("DEADLINE_EXCEEDED", f"No worker was free for {timeout:.3g} s.")
        try:
            yield
        finally:
            self._workers.release()

    def close(self):
        """Refuse what comes from now on."""
        with self._changed:
            self._closed = True

    def wait_until_empty(self, timeout):
        """True if every request admitted is answered within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._inside == 0, timeout)
