"""Piano rolls in the original MATLAB files, and as TensorFlow Datasets stores them."""

import io

import numpy as np

from rnnzoo.tasks.originals import _data, _sources

KEYS = 88
VARIABLES = {"train": "traindata", "validation": "validdata", "test": "testdata"}


def load(file, builder, data_dir=None):
    """The pieces of each split, `{split: [roll [T, 88] uint8, ...]}`, in their original order.

    Args:
        file: "JSB_Chorales.mat" or "Nottingham.mat".
        builder: a function without arguments that gives the TensorFlow Datasets builder's class.
        data_dir: see `_data.folder`.
    """
    where = _data.folder("poly_music", data_dir)
    if where is not None:
        return parse(_sources.read("poly_music", file, where), where / file)
    from rnnzoo.tasks.originals.builders import _originals

    return {
        split: [row["roll"] for row in _originals.stored(builder(), split)] for split in VARIABLES
    }


def parse(content, source):
    """The pieces of each split in the content of a MATLAB file."""
    import scipy.io

    try:
        variables = scipy.io.loadmat(io.BytesIO(content))
    except Exception as error:  # scipy raises what it happens to meet in a damaged file
        raise _data.DataError(
            f"{source} must be a MATLAB file of version 5. Received: one that cannot be read "
            f"({type(error).__name__}: {error})"
        ) from error
    return {split: _pieces(variables, name, source) for split, name in VARIABLES.items()}


def _pieces(variables, name, source):
    found = variables.get(name)
    if found is None or found.dtype != object or found.ndim != 2 or found.shape[0] != 1:
        raise _data.DataError(
            f"{source} must hold the variable {name}, a row of cells. "
            f"Received: {sorted(key for key in variables if not key.startswith('__'))}"
        )
    return [_roll(cell, f"{name}[{i}] in {source}") for i, cell in enumerate(found[0])]


def _roll(cell, what):
    cell = np.asarray(cell)
    if cell.ndim != 2 or cell.shape[1] != KEYS or len(cell) < 2:
        raise _data.DataError(
            f"{what} must have the shape [T, {KEYS}] with T at least 2. "
            f"Received: shape {list(cell.shape)}"
        )
    if not np.isin(cell, (0, 1)).all():
        raise _data.DataError(f"{what} must hold 0 and 1 only. Received: another value")
    return cell.astype(np.uint8)
