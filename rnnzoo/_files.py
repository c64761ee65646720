"""Reading and writing files so that they are whole: atomic replacement, and archive checks."""

import contextlib
import os
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator

READ_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)


class CheckpointError(ValueError):
    """A file cannot be read as what it should be; the message names the file and the fault."""

    def __init__(self, path: str | os.PathLike, fault: str) -> None:
        super().__init__(f"{os.fspath(path)}: {fault}")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary path in the same folder, which takes the place of `path` if the block succeeds.

    What the block wrote is on the disk before the rename; if the block raises, it is removed.
    """
    path = pathlib.Path(os.path.realpath(path))  # a link keeps pointing where it points
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        _flush(part)
        os.replace(part, path)
        _flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _flush(path):
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder, nor needs to here
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_path(path):
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`path` must be a string or a path. Received: path={path!r}")
    return pathlib.Path(path)


def check_zip(path, wanted):
    """Refuse what is no complete zip archive with right checksums."""
    if not path.exists():
        raise CheckpointError(path, "there is no such file.")
    if path.is_dir():
        raise CheckpointError(path, f"it is a folder; expected {wanted}.")
    try:
        if not zipfile.is_zipfile(path):
            raise CheckpointError(path, _no_zip_fault(path, wanted))
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError(path, "it may not be read: permission denied.") from error
    except (*READ_ERRORS, NotImplementedError) as error:
        raise CheckpointError(path, f"it is corrupted: {first_line(error)}") from error
    if damaged is not None:
        raise CheckpointError(path, f"it is corrupted: the checksum of {damaged} does not match.")


def _no_zip_fault(path, wanted):
    with open(path, "rb") as file:
        head = file.read(8)
    if not head:
        return "it is empty."
    if head.startswith(b"PK"):
        return "it is truncated: the zip archive has no end."
    if head.startswith(b"\x89HDF"):
        return f"it is an HDF5 file; expected {wanted}."
    return f"it is no zip archive; expected {wanted}."


def first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:400]}"


@contextlib.contextmanager
def replacing_folder(path):
    """A temporary folder beside `path`, which becomes `path` if the block succeeds.

    There must be no `path` yet: if one is there by the time of the rename, this raises `OSError`.
    If the block raises, what it wrote is removed.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        for file in part.rglob("*"):
            _flush(file)
        if path.exists():
            raise FileExistsError(f"{path} exists already and is not overwritten")
        os.rename(part, path)
        _flush(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
