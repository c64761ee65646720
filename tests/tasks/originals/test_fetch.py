"""`rnnzoo data`: downloads that resume, are verified, and never leave half a file in place."""

import errno
import gzip
import hashlib
import http.server
import re
import threading

import pytest
from click.testing import CliRunner

from rnnzoo import tasks
from rnnzoo.cli import main
from rnnzoo.tasks.originals import _data, _fetch, _sources

CONTENT = bytes(range(256)) * 1200  # more than one chunk
PACKED = gzip.compress(CONTENT)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files` with Range; `cut` bytes into an answer it hangs up."""

    files, asked, cut, ranges = {}, [], None, True

    def do_GET(self):
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        wanted = self.headers.get("Range") if self.ranges else None
        self.asked.append(wanted)
        begin = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1)) if wanted else 0
        if begin >= len(content):
            self.send_error(416)
            return
        body = content[begin:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.cut is None else body[: self.cut])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def source(address, monkeypatch):
    """A data set of a plain and a packed file on the local server."""
    monkeypatch.setattr(Server, "files", {"/plain.txt": CONTENT, "/packed.gz": PACKED})
    monkeypatch.setattr(Server, "asked", [])
    monkeypatch.setattr(Server, "cut", None)
    monkeypatch.setattr(Server, "ranges", True)
    digest = hashlib.sha256(CONTENT).hexdigest()
    made = _sources.Source(
        name="tiny",
        summary="a test",
        files=tuple(
            _sources.File(name, f"{address}/{path}", digest, len(CONTENT))
            for name, path in (("plain.txt", "plain.txt"), ("packed", "packed.gz"))
        ),
        homepage="",
        licence=_sources.NOT_STATED,
        citation="",
    )
    monkeypatch.setitem(_sources.SOURCES, "tiny", made)
    return made


def cli(line, code=0):
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fetch_then_read(source, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "data"))
    assert "tiny │ a test │ not here │ 614.4 kB to fetch" in cli("data")
    output = cli("data fetch tiny")
    folder = tmp_path / "data" / "tiny"
    assert str(folder / "packed.gz") in output
    assert "Licence: not stated by the distributor" in output
    assert names(folder) == ["packed.gz", "plain.txt"]
    for file in source.files:
        assert _sources.read("tiny", file.name, _data.folder("tiny")) == CONTENT
    size = f"{(len(CONTENT) + len(PACKED)) / 1e3:.1f} kB"
    assert size in cli("data")
    (folder / "plain.txt").unlink()
    # The folder's length decides where the table breaks the line.
    assert "withoutplain.txt" in re.sub("[│ ]", "", cli("data"))
    Server.asked.clear()
    cli("data fetch tiny")  # fetches what is missing, and nothing else
    assert Server.asked == [None]


def test_folders(source, tmp_path, monkeypatch):
    monkeypatch.setattr(_data, "CACHE", tmp_path / "cache")
    monkeypatch.delenv("RNNZOO_DATA_DIR", raising=False)
    cli("data fetch tiny")
    assert _data.folder("tiny") == tmp_path / "cache" / "tiny"
    cli(f"data fetch tiny --data-dir {tmp_path / 'other'}")
    assert names(tmp_path / "other" / "tiny") == ["packed.gz", "plain.txt"]
    assert _data.folder("tiny", tmp_path / "other") == tmp_path / "other" / "tiny"
    (tmp_path / "mine" / "tiny").mkdir(parents=True)
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "mine"))
    assert _data.folder("tiny") == tmp_path / "cache" / "tiny"
    (tmp_path / "mine" / "tiny" / ".plain.txt.part").write_bytes(b"begun")
    assert _data.folder("tiny") == tmp_path / "cache" / "tiny"
    (tmp_path / "mine" / "tiny" / "plain.txt").write_bytes(CONTENT)
    assert _data.folder("tiny") == tmp_path / "mine" / "tiny"
    assert _data.folder("ptb") is None
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "mistyped"))
    with pytest.raises(tasks.DataError, match=r"RNNZOO_DATA_DIR must name a folder.*/mistyped'"):
        _data.folder("tiny")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on(source, tmp_path, monkeypatch, ranges):
    monkeypatch.setattr(Server, "cut", 100_000)
    with pytest.raises(tasks.DataError, match=r"plain.txt could not be .* goes on from there"):
        _fetch.fetch("tiny", tmp_path)
    assert names(tmp_path) == [".plain.txt.part"]
    have = (tmp_path / ".plain.txt.part").stat().st_size
    assert 0 < have <= 100_000
    monkeypatch.setattr(Server, "cut", None)
    monkeypatch.setattr(Server, "ranges", ranges)
    Server.asked.clear()
    seen = []
    _fetch.fetch("tiny", tmp_path, lambda *progress: seen.append(progress))
    assert Server.asked == [f"bytes={have}-" if ranges else None, None]
    assert seen[0] == ("plain.txt", have if ranges else 0, len(CONTENT))
    assert ("plain.txt", len(CONTENT), len(CONTENT)) in seen
    assert (tmp_path / "plain.txt").read_bytes() == CONTENT
    assert names(tmp_path) == ["packed.gz", "plain.txt"]


def test_a_part_that_is_whole_takes_its_place(source, tmp_path):
    (tmp_path / ".plain.txt.part").write_bytes(CONTENT)
    _fetch.fetch("tiny", tmp_path)
    assert (tmp_path / "plain.txt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("/plain.txt", CONTENT[::-1], "is not the original: its SHA-256 must be"),
        ("/packed.gz", PACKED[:-20], "is damaged and cannot be unpacked"),
    ],
)
def test_what_is_not_the_original_is_thrown_away(source, tmp_path, path, content, words):
    Server.files[path] = content
    with pytest.raises(tasks.DataError, match=words):
        _fetch.fetch("tiny", tmp_path)
    assert names(tmp_path) == ([] if path == "/plain.txt" else ["plain.txt"])


def test_a_wrong_file_that_is_there_is_told_and_kept(source, tmp_path):
    (tmp_path / "plain.txt").write_bytes(b"mine")
    with pytest.raises(tasks.DataError, match="is not the original"):
        _fetch.fetch("tiny", tmp_path)
    assert (tmp_path / "plain.txt").read_bytes() == b"mine"


def test_a_full_disk_is_told(source, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_fetch.os, "fsync", full)
    with pytest.raises(tasks.DataError, match=r"disk .* is full: plain.txt has 307,200 bytes"):
        _fetch.fetch("tiny", tmp_path)
    assert names(tmp_path) == [".plain.txt.part"]


def test_a_folder_that_may_not_be_written_is_told(source, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(tasks.DataError, match=r"plain.txt cannot be written: "):
        _fetch.fetch("tiny", tmp_path / "file" / "below")


def test_the_command_tells_failures_in_one_line(source, tmp_path, monkeypatch):
    there = f"--data-dir {tmp_path}"
    assert "`name` must be one of 'mnist', 'ptb', " in cli(f"data fetch nothing {there}", code=2)
    del Server.files["/plain.txt"]
    output = cli(f"data fetch tiny {there}", code=2)
    assert "plain.txt could not be downloaded" in output
    assert "404" in output
    assert "is kept" not in output
    gone = source.files[0]._replace(url="http://127.0.0.1:9/plain.txt")
    monkeypatch.setitem(_sources.SOURCES, "tiny", source._replace(files=(gone,)))
    assert "ConnectionError" in cli(f"data fetch tiny {there}", code=2)
    assert list((tmp_path / "tiny").iterdir()) == []


def test_other_identities():
    digest = hashlib.sha1(CONTENT).hexdigest()
    _data.verify(CONTENT, "0" * 64, "file", (f"sha1:{digest}",))
    # What `git hash-object` says of an empty file.
    _data.verify(b"", "0" * 64, "file", ("git:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",))
    with pytest.raises(tasks.DataError, match=f"or its identity sha1:{digest}"):
        _data.verify(CONTENT[1:], "0" * 64, "file", (f"sha1:{digest}",))


def test_lines_are_read_strictly():
    assert _data.lines("a\n\nü\n".encode(), "file") == ["a", "", "ü"]
    with pytest.raises(tasks.DataError, match=r"Line 2 of file is not UTF-8"):
        _data.lines(b"a\n\xff\n", "file")
    with pytest.raises(tasks.DataError, match=r"file must end with the end of a line.*b'b'"):
        _data.lines(b"a\nb", "file")


@pytest.mark.parametrize("name", _sources.SOURCES)
def test_the_table_is_that_of_the_real_files(name, real_data):
    source = _sources.get(name)
    folder = real_data(name) / name
    for file in source.files:
        assert len(_sources.read(name, file.name, folder)) == file.size
