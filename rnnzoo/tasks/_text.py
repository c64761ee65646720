"""Texts as numbered tokens: originals, units, and the vocabulary of the training set."""

import collections

import numpy as np

from rnnzoo.tasks.originals import _data, _sources

END, UNKNOWN = "<eos>", "<unk>"


def words(content, source):
    """The words of each line, and `<eos>` at its end."""
    tokens = []
    for line in _data.lines(content, source):
        tokens += line.split()
        tokens.append(END)
    return tokens


def spelled_words(content, source):
    """The characters of each line without its first space, other spaces as `_`, and `<eos>`."""
    tokens = []
    for number, line in enumerate(_data.lines(content, source), start=1):
        if not line.startswith(" "):
            raise _data.DataError(
                f"Line {number} of {source} must begin with a space. Received: {line[:40]!r}"
            )
        tokens += line[1:].replace(" ", "_")
        tokens.append(END)
    return tokens


def originals(name, files, data_dir, builder):
    """The verified content of a set's files by split, from a local folder or else a `builder`.

    Args:
        name: of the set in `_sources`.
        files: the name of the file of each split.
        data_dir: see `_data.folder`.
        builder: a function that imports and returns the class for TensorFlow Datasets, or None
            where there is none.
    """
    where = _data.folder(name, data_dir)
    if where is not None:
        return {split: _sources.read(name, file, where) for split, file in files.items()}
    if builder is None:
        raise _data.DataError(
            f"The data set {name} is not here. `rnnzoo data fetch {name}` gets it, or put it into "
            f"the folder {name} of a folder that {_data.VARIABLE} or `data_dir` names."
        )
    from rnnzoo.tasks.originals.builders import _originals

    contents = {}
    for split, file in files.items():
        rows = _originals.stored(builder(), split)
        contents[split] = b"".join(row["text"] + b"\n" for row in rows)
        known = _sources.get(name).file(file)
        source = f"{file} (as TensorFlow Datasets stores it)"
        _data.verify(contents[split], known.sha256, source, known.also)
    return contents


def vocabulary(tokens):
    """The different tokens, the most frequent first, and in code point order among equals."""
    counts = collections.Counter(tokens)
    return tuple(sorted(counts, key=lambda token: (-counts[token], token)))


def encode(tokens, index, source):
    """The numbers of `tokens`; one that is not in the vocabulary is `<unk>`."""
    unknown = index.get(UNKNOWN, -1)
    ids = np.fromiter((index.get(token, unknown) for token in tokens), np.int32)
    if unknown < 0 and (ids < 0).any():
        stranger = tokens[int(np.argmin(ids))]
        raise _data.DataError(
            f"{source} has the token {stranger!r}, which the training set has not, and there is no "
            f"{UNKNOWN} to stand for it."
        )
    return ids
