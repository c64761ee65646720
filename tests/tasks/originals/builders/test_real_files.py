"""The builders on the original files: what TensorFlow Datasets stores has the true counts."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rnnzoo.tasks.originals import _data, _sources
from rnnzoo.tasks.originals.builders import _originals
from rnnzoo.tasks.originals.builders.atis import Atis
from rnnzoo.tasks.originals.builders.penn_treebank import PennTreebank
from rnnzoo.tasks.originals.builders.piano_rolls import JsbChorales, NottinghamRolls
from rnnzoo.tasks.originals.builders.wikitext2 import Wikitext2

SPLITS = ("train", "validation", "test")


@pytest.fixture
def stored(real_data, monkeypatch, tmp_path):
    """`stored(builder)`: all splits' examples, the download manager handing out the real files."""

    def examples(builder):
        source = _sources.get(builder.SOURCE)
        folder = real_data(source.name) / source.name

        def download(self, urls):
            for name in urls:
                found = _data.find(folder, name)
                content = found.read_bytes()
                packed = found.suffix == ".gz"
                content = _data.unpack(found, content, "") if packed else content
                (tmp_path / name).write_bytes(content)
            return {name: tfds.core.Path(tmp_path / name) for name in urls}

        monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
        return [_originals.stored(builder, s, data_dir=tmp_path / "stored") for s in SPLITS]

    return examples


def test_atis(stored):
    splits = stored(Atis)
    assert [len(rows) for rows in splits] == [4_478, 500, 893]
    words = [sum(len(row["words"]) for row in rows) for rows in splits]
    assert words == [50_497, 5_703, 9_164]
    assert words == [sum(len(row["tags"]) for row in rows) for rows in splits]
    assert len({row["intent"] for rows in splits for row in rows}) == 26
    assert len(set(np.concatenate([row["words"] for row in splits[0]]))) == 867


@pytest.mark.parametrize(
    ("builder", "pieces", "frames", "notes"),
    [
        (JsbChorales, [229, 76, 77], [13_807, 4_602, 4_725], [53_824, 17_811, 18_367]),
        (
            NottinghamRolls,
            [694, 173, 170],
            [176_561, 45_513, 44_463],
            [699_403, 180_192, 177_421],
        ),
    ],
)
def test_piano_rolls(stored, builder, pieces, frames, notes):
    splits = stored(builder)
    assert [len(rows) for rows in splits] == pieces
    rolls = [[row["roll"] for row in rows] for rows in splits]
    assert [sum(map(len, group)) for group in rolls] == frames
    assert [sum(int(roll.sum()) for roll in group) for group in rolls] == notes


@pytest.mark.parametrize(
    ("builder", "words"),
    [
        (PennTreebank, [887_521, 70_390, 78_669]),
        (Wikitext2, [2_051_910, 213_886, 241_211]),
    ],
)
def test_texts(stored, builder, words):
    splits = stored(builder)
    assert [sum(len(row["text"].split()) for row in rows) for rows in splits] == words
