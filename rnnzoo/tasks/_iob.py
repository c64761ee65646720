"""The original ATIS files: a line an utterance, with a tag for every word and the intent."""

import collections
from typing import NamedTuple

from rnnzoo.tasks.originals import _data, _sources

FILES = {
    "train": "atis-2.train.w-intent.iob",
    "validation": "atis-2.dev.w-intent.iob",
    "test": "atis.test.w-intent.iob",
}
BEGIN, END = "BOS", "EOS"
PADDING, UNKNOWN = "<pad>", "<unk>"


class Utterance(NamedTuple):
    """Words, as many tags, and the intent."""

    words: tuple
    tags: tuple
    intent: str


def load(builder, data_dir=None):
    """The utterances of each split, in the order of the originals.

    Args:
        builder: a function without arguments that gives the TensorFlow Datasets builder's class.
        data_dir: see `_data.folder`.
    """
    where = _data.folder("atis", data_dir)
    if where is not None:
        return {
            split: parse(_sources.read("atis", file, where), where / file)
            for split, file in FILES.items()
        }
    from rnnzoo.tasks.originals.builders import _originals

    return {
        split: [_from_row(row) for row in _originals.stored(builder(), split)] for split in FILES
    }


def parse(content, source):
    """The utterances in the content of a file.

    A line is ``BOS words EOS``, a tab, and a tag for BOS and each word, then the intent, which
    stands in the place of the tag of EOS.
    """
    lines = enumerate(_data.lines(content, source), start=1)
    return [_utterance(line, f"Line {n} of {source}") for n, line in lines if line.strip()]


def vocabulary(utterances, min_count):
    """The words that occur at least `min_count` times, the most frequent first, after two others:
    number 0 is the padding, 1 every other word."""
    counts = collections.Counter(word for u in utterances for word in u.words)
    kept = [word for word, count in counts.items() if count >= min_count]
    return [PADDING, UNKNOWN, *sorted(kept, key=lambda word: (-counts[word], word))]


def inventory(splits, field):
    """The names of all classes: those of the training set, then those that only others have."""
    names = []
    for split in FILES:
        found = {n for u in splits[split] for n in (u.tags if field == "tags" else [u.intent])}
        names += sorted(found - set(names))
    return names


def _utterance(line, what):
    words, tab, tags = line.partition("\t")
    words, tags = words.split(), tags.split()
    if not tab or len(words) != len(tags) or words[:1] != [BEGIN] or words[-1:] != [END]:
        raise _data.DataError(
            f"{what} must be BOS, words, EOS, a tab, and as many tags. Received: {line[:80]!r}"
        )
    if len(words) < 3:
        raise _data.DataError(f"{what} must have a word. Received: {line[:80]!r}")
    for tag in tags[1:-1]:
        if tag != "O" and not (tag[:2] in ("B-", "I-") and tag[2:]):
            raise _data.DataError(f"{what} must have the tags O, B-x or I-x. Received: {tag!r}")
    return Utterance(tuple(words[1:-1]), tuple(tags[1:-1]), tags[-1])


def _from_row(row):
    words, tags = ([t.decode() for t in row[key]] for key in ("words", "tags"))
    return Utterance(tuple(words), tuple(tags), row["intent"].decode())
