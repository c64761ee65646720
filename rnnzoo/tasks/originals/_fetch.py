"""Downloads of original data files: resumed where they broke off, verified, and then in place."""

import errno
import os

from rnnzoo.tasks.originals import _data, _sources

CHUNK = 1 << 16
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quota error
TIMEOUT = 30  # seconds without an answer, or without another byte


def fetch(name, folder, on_bytes=lambda file, received, total: None):
    """Download what is missing of a data set into `folder`, which gets its originals and no other.

    A file arrives under another name, ``.<file>.part``, is verified there, and takes its own name
    in one step. If a download breaks off, what has come stays, and the next one asks the server
    for the rest (HTTP Range).

    Args:
        name: one of `_sources.SOURCES`.
        folder: where the files go; made if it is not there.
        on_bytes: called with the file's name, the bytes received so far, and their total (None
            where the server does not tell it).

    Returns:
        The paths, in the order of the table.

    Raises:
        DataError: for a server that cannot be reached or answers with an error, a full disk, or
            content that is not the original; and for a file already there that is not.
    """
    paths = []
    for file in _sources.get(name).files:
        found = _data.find(folder, file.name)
        if found is None:
            found = _fetch_file(file, folder, on_bytes)
        else:
            _sources.read(name, file.name, folder)  # whatever else lies there is refused
        paths.append(found)
    return paths


def _fetch_file(file, folder, on_bytes):
    import requests

    final = folder / (file.name + (".gz" if file.url.endswith(".gz") else ""))
    part = folder / f".{final.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _receive(file, part, on_bytes)
        _check(file, part)
        os.replace(part, final)
    except requests.RequestException as error:  # which is an OSError too
        raise _data.DataError(
            f"{file.name} could not be downloaded from {file.url} ({type(error).__name__}: "
            f"{error}).{_what_is_kept(part)}"
        ) from error
    except OSError as error:
        if error.errno not in FULL:
            raise _data.DataError(f"{final} cannot be written: {error}.") from error
        raise _data.DataError(
            f"The disk that holds {folder} is full: {file.name} has {file.size:,} bytes."
            f"{_what_is_kept(part)}"
        ) from error
    return final


def _what_is_kept(part):
    if not part.exists():
        return ""
    return f" What has come is kept in {part}; the next try goes on from there."


def _receive(file, part, on_bytes):
    import requests

    have = part.stat().st_size if part.exists() else 0
    # The hash is that of the file, so no packing on the way.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(file.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is left to come: the check tells whether the part is the file
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            have = 0  # a server without ranges sends the whole file again
        left = answer.headers.get("Content-Length")
        total = None if left is None else have + int(left)
        with open(part, "ab" if have else "wb") as stream:
            on_bytes(file.name, have, total)
            for chunk in answer.iter_content(CHUNK):
                stream.write(chunk)
                have += len(chunk)
                on_bytes(file.name, have, total)
            stream.flush()
            os.fsync(stream.fileno())


def _check(file, part):
    """Refuse and remove a part that is not the file, which no further byte could mend."""
    try:
        content = _data.unpack(file.url, part.read_bytes(), file.sha256)
        _data.verify(content, file.sha256, file.url, file.also)
    except _data.DataError:
        part.unlink()
        raise
