"""NumPy arrays and plain values in one file, of any type that JSON and NumPy can hold."""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np

from rnnzoo._files import READ_ERRORS, CheckpointError, as_path, check_zip, first_line, replacing

_ARRAYS_FORMAT, _ARRAYS_VERSION = "rnnzoo.arrays", 1


def save_arrays(
    path: str | os.PathLike, arrays: dict[str, np.ndarray], metadata: dict
) -> pathlib.Path:
    """Save NumPy arrays and a dict of plain values to one file, atomically.

    Args:
        path: where to.
        arrays: dict of name to array, of any numeric or boolean type (bfloat16 too).
        metadata: dict that JSON can hold.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        TypeError: an array's type is not numeric, or `metadata` holds what JSON cannot.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_arrays(f"{folder}/state.npz", {"h": np.arange(3)}, {"epoch": 2})
    ...     load_arrays(f"{folder}/state.npz")
    ({'h': array([0, 1, 2])}, {'epoch': 2})
    """
    path = as_path(path)
    arrays = {name: _native(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject or array.dtype.kind in "SUMm":
            raise TypeError(
                f"`arrays` must hold numbers or booleans. Received: arrays[{name!r}] of type "
                f"{array.dtype}"
            )
    manifest = {
        "format": _ARRAYS_FORMAT,
        "version": _ARRAYS_VERSION,
        "arrays": [[name, a.dtype.name, list(a.shape)] for name, a in arrays.items()],
        "metadata": metadata,
    }
    try:
        manifest = json.dumps(manifest).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"`metadata` must hold plain JSON values: {error}.") from error
    members = {f"array_{i:05d}": _as_bytes(a) for i, a in enumerate(arrays.values())}
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, manifest=np.frombuffer(manifest, np.uint8), **members)
    return path


def load_arrays(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict]:
    """Load what `save_arrays` wrote: ``(arrays, metadata)``.

    Raises:
        CheckpointError: the file is missing, truncated, corrupted, of another origin, or of a
            later format version.
    """
    path = as_path(path)
    check_zip(path, "a file of saved arrays")
    try:
        with np.load(path, allow_pickle=False) as members:
            if "manifest" not in members.files:
                raise CheckpointError(path, "it is a zip archive, but not of rnnzoo's arrays.")
            manifest = json.loads(members["manifest"].tobytes())
            _check_manifest(path, manifest)
            arrays = {
                name: _from_bytes(members[f"array_{i:05d}"], dtype, shape)
                for i, (name, dtype, shape) in enumerate(manifest["arrays"])
            }
    except CheckpointError:
        raise
    except (*READ_ERRORS, KeyError, TypeError) as error:
        raise CheckpointError(path, f"its content is damaged: {first_line(error)}") from error
    return arrays, manifest["metadata"]


def _check_manifest(path, manifest):
    if not isinstance(manifest, dict) or manifest.get("format") != _ARRAYS_FORMAT:
        raise CheckpointError(path, "it is a zip archive, but not of rnnzoo's arrays.")
    if manifest["version"] != _ARRAYS_VERSION:
        raise CheckpointError(
            path,
            f"it has format version {manifest['version']}; this release reads {_ARRAYS_VERSION}.",
        )


def _native(array):
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _as_bytes(array):
    """NumPy would store types that it does not know (bfloat16) as void: store bytes, always."""
    return np.frombuffer(array.tobytes(), np.uint8)


def _from_bytes(stored, dtype, shape):
    import ml_dtypes  # noqa: F401  (makes NumPy know bfloat16 by name)

    return np.frombuffer(stored.tobytes(), np.dtype(dtype)).reshape(shape).copy()
