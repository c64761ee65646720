"""Original data files: found, unpacked in memory, and believed only if their hash is right."""

import gzip
import hashlib
import os
import pathlib
import zlib

import numpy as np

VARIABLE = "RNNZOO_DATA_DIR"


class DataError(ValueError):
    """A data file is missing, damaged, or not the one that the task is defined on."""


def folder(name, data_dir=None):
    """Where the local originals of a data set are, or None if there are none to use.

    `data_dir` (else the environment variable RNNZOO_DATA_DIR) holds one folder a data set. A
    `data_dir` that is given must have it; the variable may name a folder that lacks some sets.
    """
    if data_dir is not None:
        found = pathlib.Path(data_dir) / name
        if not found.is_dir():
            raise DataError(
                f"`data_dir` must be a folder that holds the folder {name}. "
                f"Received: data_dir={str(data_dir)!r}"
            )
        return found
    root = os.environ.get(VARIABLE)
    found = pathlib.Path(root) / name if root else None
    return found if found is not None and found.is_dir() else None


def read(where, file, sha256):
    """The content of `file` in the folder `where`, unpacked, once its SHA-256 is `sha256`.

    `file.gz` is preferred to `file`. The hash is that of the unpacked content.
    """
    paths = [where / f"{file}.gz", where / file]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise DataError(
            f"The file {file}.gz (or {file}) is missing from the folder {where}. "
            f"The SHA-256 of its unpacked content is {sha256}."
        )
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"The file {path} is damaged and cannot be unpacked ({error}). "
                f"The SHA-256 of its unpacked content must be {sha256}."
            ) from error
    verify(content, sha256, path)
    return content


def verify(content, sha256, source):
    """Refuse `content` whose SHA-256 is another."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"The content of {source} is not the original: its SHA-256 must be {sha256}. "
            f"Received: {found}"
        )


def parse_idx(content, source):
    """The array in an IDX file of unsigned bytes.

    An IDX file starts with two zero bytes, the type (0x08: unsigned byte) and the number of axes,
    then has one big-endian 32-bit length an axis, then the values, and nothing after them.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or content[3] == 0:
        raise DataError(
            f"{source} must start as an IDX file of unsigned bytes, 00 00 08 and the number of "
            f"axes. Received: {content[:4].hex(' ')}"
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(
            f"{source} is truncated: the header of an IDX file with {content[3]} axes has {start} "
            f"bytes. Received: {len(content)} bytes"
        )
    shape = tuple(int(length) for length in np.frombuffer(content[4:start], ">u4"))
    size = start + int(np.prod(shape, dtype=object))
    if len(content) != size:
        raise DataError(
            f"{source} must have {size} bytes for the shape {shape} that its header tells. "
            f"Received: {len(content)} bytes"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
