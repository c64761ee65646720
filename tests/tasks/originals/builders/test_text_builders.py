"""The builders of the text sets, by TensorFlow Datasets's own test case, and their order."""

import dummy_sources as dummy
import pytest
import tensorflow_datasets as tfds

from rnnzoo import tasks
from rnnzoo.tasks.originals import _sources
from rnnzoo.tasks.originals.builders import _originals
from rnnzoo.tasks.originals.builders.penn_treebank import PennTreebank
from rnnzoo.tasks.originals.builders.wikitext2 import Wikitext2


class _OnDummyFiles:
    def setUp(self):
        replaced = dummy.patched(self.DATASET_CLASS.SOURCE)
        replaced.start()
        self.addCleanup(replaced.stop)
        super().setUp()


class TestPennTreebank(_OnDummyFiles, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = PennTreebank
    SPLITS = {"train": 4, "validation": 2, "test": 3}
    EXAMPLE_DIR = dummy.FOLDER / "ptb"
    DL_DOWNLOAD_RESULT = {file: file for file in PennTreebank.FILES.values()}


class TestWikitext2(_OnDummyFiles, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Wikitext2
    SPLITS = {"train": 8, "validation": 4, "test": 5}
    EXAMPLE_DIR = dummy.FOLDER / "wikitext-2"
    DL_DOWNLOAD_RESULT = {file: file for file in Wikitext2.FILES.values()}
    OVERLAPPING_SPLITS = ["train", "validation", "test"]  # empty lines stand in each


@pytest.fixture
def downloaded(monkeypatch):
    """The download manager hands out the dummy files."""

    def download(self, urls):
        names = {f.url: f.name for s in _sources.SOURCES.values() for f in s.files}
        folders = {f.url: s.name for s in _sources.SOURCES.values() for f in s.files}
        root = tfds.core.Path(dummy.FOLDER)
        return {key: root / folders[url] / names[url] for key, url in urls.items()}

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)


@pytest.mark.parametrize("builder", [PennTreebank, Wikitext2])
def test_lines_come_back_in_their_order(builder, downloaded, tmp_path):
    with dummy.patched(builder.SOURCE):
        for split, file in builder.FILES.items():
            rows = _originals.stored(builder, split, data_dir=tmp_path)
            content = b"".join(row["text"] + b"\n" for row in rows)
            assert content == (dummy.FOLDER / builder.SOURCE / file).read_bytes()


def test_what_is_not_the_original_is_refused(downloaded, tmp_path):
    with pytest.raises(tasks.DataError, match=r"(?s)rnnzoo data fetch ptb") as caught:
        _originals.stored(PennTreebank, "train", data_dir=tmp_path)
    message = str(caught.value)
    assert "is not the original: its SHA-256 must be fcea919f" in message
    assert "RNNZOO_DATA_DIR" in message


def test_metadata_is_that_of_the_table():
    for builder in (PennTreebank, Wikitext2):
        source = _sources.get(builder.SOURCE)
        info = builder().info
        assert info.citation == source.citation
        assert info.redistribution_info.license == source.licence
        for file in source.files:
            if not file.also:
                assert builder.url_infos[file.url].checksum == file.sha256
                assert int(builder.url_infos[file.url].size) == file.size
