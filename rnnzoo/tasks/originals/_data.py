"""Original data files: found, unpacked in memory, and believed only if their hash is right."""

import gzip
import hashlib
import os
import pathlib
import zlib

import numpy as np

VARIABLE = "RNNZOO_DATA_DIR"
CACHE = pathlib.Path.home() / ".cache" / "rnnzoo"


class DataError(ValueError):
    """A data file is missing, damaged, or not the one that the task is defined on."""


def root(data_dir=None):
    """The folder of all data sets: `data_dir`, else what RNNZOO_DATA_DIR names, else the cache."""
    return pathlib.Path(data_dir or os.environ.get(VARIABLE) or CACHE)


def folder(name, data_dir=None):
    """Where the local originals of a data set are, or None if there are none to use.

    A `data_dir` (which holds one folder a data set) that is given must have the set. Else it is
    looked for under the folder that the environment variable RNNZOO_DATA_DIR names, and then under
    `CACHE`, where ``rnnzoo data fetch`` puts it; either may lack it.
    """
    if data_dir is not None:
        found = pathlib.Path(data_dir) / name
        if not found.is_dir():
            raise DataError(
                f"`data_dir` must be a folder that holds the folder {name}. "
                f"Received: data_dir={str(data_dir)!r}"
            )
        return found
    named = os.environ.get(VARIABLE)
    if named and not pathlib.Path(named).is_dir():
        raise DataError(f"{VARIABLE} must name a folder. Received: {VARIABLE}={named!r}")
    return present(name)


def present(name):
    """The first of the folders that `folder` looks in that has a file of the set, or None.

    What a download has begun (a hidden file) is none.
    """
    places = [pathlib.Path(place) / name for place in (os.environ.get(VARIABLE), CACHE) if place]
    return next((place for place in places if _has_files(place)), None)


def _has_files(place):
    return place.is_dir() and any(not path.name.startswith(".") for path in place.iterdir())


def find(where, file):
    """The path of `file.gz` or, if there is none, of `file` in the folder `where`; else None."""
    return next((p for p in (where / f"{file}.gz", where / file) if p.is_file()), None)


def read(where, file, sha256, also=()):
    """The content of `file` in the folder `where`, unpacked, once its SHA-256 is `sha256`.

    `file.gz` is preferred to `file`. The hash is that of the unpacked content. See `verify` for
    `also`.
    """
    path = find(where, file)
    if path is None:
        raise DataError(
            f"The file {file}.gz (or {file}) is missing from the folder {where}. "
            f"The SHA-256 of its unpacked content is {sha256}. "
            f"`rnnzoo data fetch {where.name}` can get it."
        )
    content = unpack(path, path.read_bytes(), sha256)
    verify(content, sha256, path, also)
    return content


def unpack(path, content, sha256):
    """`content`, unpacked where the name `path` ends in .gz."""
    if pathlib.Path(path).suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"The file {path} is damaged and cannot be unpacked ({error}). "
            f"The SHA-256 of its unpacked content must be {sha256}."
        ) from error


def verify(content, sha256, source, also=()):
    """Refuse `content` that has neither the SHA-256 nor one of the identities in `also`.

    Those are `"sha1:..."`, and `"git:..."` for the id that git gives a file of that content.
    """
    found = hashlib.sha256(content).hexdigest()
    if found == sha256:
        return
    if also:
        other = {
            f"sha1:{hashlib.sha1(content).hexdigest()}",
            f"git:{hashlib.sha1(b'blob %d%c' % (len(content), 0) + content).hexdigest()}",
        }
        if other & set(also):
            return
    raise DataError(
        f"The content of {source} is not the original: its SHA-256 must be {sha256}"
        f"{''.join(f' or its identity {identity}' for identity in also)}. Received: {found}"
    )


def lines(content, source):
    """The lines of UTF-8 `content`, each without its end; the last one must have an end too."""
    *whole, rest = content.split(b"\n")
    if rest:
        raise DataError(
            f"{source} must end with the end of a line. Received: {rest[:40]!r} after the last"
        )
    decoded = []
    for number, line in enumerate(whole, start=1):
        try:
            decoded.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"Line {number} of {source} is not UTF-8: {error}.") from error
    return decoded


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
