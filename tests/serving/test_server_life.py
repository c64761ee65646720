"""The local server finds new versions, bounds its queue, and ends in order."""

import shutil
import threading
import time

import numpy as np
import pytest
from served_models import F, exported

from rnnzoo.serving import Server, Stream


def test_new_versions_are_found_and_broken_ones_left_alone(tmp_path, caplog):
    folder = tmp_path / "m"
    shutil.copytree(exported("single")[1], folder)
    with Server(folder, poll=0.02) as server:
        (folder / "2").mkdir()
        (folder / "2" / "saved_model.pb").write_bytes(b"no model")
        wait_until(lambda: "m version 2 does not load" in caplog.text)
        assert server.versions == {"m": 1}
        shutil.copytree(exported("whole")[1] / "1", tmp_path / "3")
        (tmp_path / "3").rename(folder / "3")
        wait_until(lambda: server.versions == {"m": 3})
        shutil.rmtree(folder / "3")
        wait_until(lambda: server.versions == {"m": 1})
        shutil.rmtree(folder)
        time.sleep(0.1)
        with Stream(server.rest_address, "m") as stream:
            assert stream.version == 1
    assert caplog.text.count("version 2 does not load") == 1


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Slow:
    """Holds every request in the server's hands until it is told to go on."""

    def __init__(self, server, monkeypatch):
        version = server._backend.model("single").version()
        run, self.begun, self.go_on = version.predict, threading.Semaphore(0), threading.Event()

        def predict(*arguments):
            self.begun.release()
            assert self.go_on.wait(20)
            return run(*arguments)

        monkeypatch.setattr(version, "predict", predict)


def sending(address, results):
    """A thread that sends one step and notes the answer or the error."""
    stream = Stream(address, "single", reconnect=0)

    def send():
        try:
            results.append(stream.send(np.ones([1, F])).shape)
        except (ConnectionError, TimeoutError) as error:
            results.append(str(error))
        stream.close()

    thread = threading.Thread(target=send)
    return thread


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_a_full_queue_refuses_and_the_end_waits_for_what_is_in_hand(way, monkeypatch):
    """One computes, one waits, the third is refused; `stop` answers the first two."""
    results = []
    with Server(exported("single")[1], workers=1, queue=1) as server:
        threads = [sending(getattr(server, f"{way}_address"), results) for _ in range(3)]
        slow = Slow(server, monkeypatch)
        for thread in threads[:2]:
            thread.start()
        assert slow.begun.acquire(timeout=20)
        wait_until(lambda: server._backend.admission._inside == 2)
        threads[2].start()
        threads[2].join()
        assert len(results) == 1
        assert "The queue is full: 2 requests" in results.pop()
        stopped = []
        stop = threading.Thread(target=lambda: stopped.append(server.stop(20)))
        stop.start()
        time.sleep(0.1)
        assert not stopped
        slow.go_on.set()
        for thread in [*threads[:2], stop]:
            thread.join(20)
        assert results == [(1, 3)] * 2
        assert stopped == [True]
        with pytest.raises(ConnectionError, match="no server answers"):
            Stream(server.grpc_address, "single", reconnect=0)


def test_the_end_does_not_wait_for_ever(monkeypatch):
    with Server(exported("single")[1]) as server:
        results = []
        thread = sending(server.rest_address, results)
        slow = Slow(server, monkeypatch)
        thread.start()
        assert slow.begun.acquire(timeout=20)
        assert server.stop(drain=0.1) is False
        slow.go_on.set()
        thread.join(20)


def test_it_listens_on_loopback_and_a_taken_port_is_an_error():
    with Server(exported("single")[1]) as server:
        assert server.grpc_address.startswith("127.0.0.1:")
        port = int(server.rest_address.rpartition(":")[2])
        for name in ("grpc_port", "rest_port"):
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
                Server(exported("single")[1], **{name: port})


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"directories": []}, ValueError, "`directories` must name a folder"),
        ({"directories": "nowhere"}, ValueError, "must each hold a version that loads"),
        ({"directories": ["single", "single"]}, ValueError, "must have different names"),
        ({"directories": 3}, TypeError, "`path` must be a string or a path"),
        ({"host": ""}, TypeError, "`host` must be an address"),
        ({"grpc_port": 70_000}, ValueError, "`grpc_port` must be at most 65535"),
        ({"queue": -1}, ValueError, "`queue` must be an integer of at least 0"),
        ({"workers": 0}, ValueError, "`workers` must be an integer of at least 1"),
        ({"max_bytes": 0}, ValueError, "`max_bytes` must be an integer of at least 1"),
        ({"poll": 0}, ValueError, r"`poll` must be a number in \(0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    folder = exported("single")[1]
    directories = arguments.pop("directories", folder)
    if isinstance(directories, list):
        directories = [folder for _ in directories]
    with pytest.raises(error, match=words):
        Server(directories, **arguments)
