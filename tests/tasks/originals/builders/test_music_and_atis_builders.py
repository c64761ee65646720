"""The builders of piano rolls and of ATIS, by TensorFlow Datasets's own test case; their order."""

import dummy_sources as dummy
import numpy as np
import pytest
import tensorflow_datasets as tfds

from rnnzoo import tasks
from rnnzoo.tasks import _iob
from rnnzoo.tasks.originals import _data, _sources
from rnnzoo.tasks.originals.builders.atis import Atis
from rnnzoo.tasks.originals.builders.piano_rolls import JsbChorales, NottinghamRolls
from rnnzoo.tasks.polyphonic_music import JSBChorales


class _OnDummyFiles:
    def setUp(self):
        replaced = dummy.patched(self.DATASET_CLASS.SOURCE)
        replaced.start()
        self.addCleanup(replaced.stop)
        super().setUp()


class TestJsbChorales(_OnDummyFiles, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = JsbChorales
    SPLITS = {"train": 5, "validation": 2, "test": 3}
    EXAMPLE_DIR = dummy.FOLDER / "poly_music"
    DL_DOWNLOAD_RESULT = {JsbChorales.FILE: JsbChorales.FILE}


class TestNottingham(_OnDummyFiles, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = NottinghamRolls
    SPLITS = {"train": 4, "validation": 3, "test": 2}
    EXAMPLE_DIR = dummy.FOLDER / "poly_music"
    DL_DOWNLOAD_RESULT = {NottinghamRolls.FILE: NottinghamRolls.FILE}


class TestAtis(_OnDummyFiles, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Atis
    SPLITS = {"train": 5, "validation": 2, "test": 3}
    EXAMPLE_DIR = dummy.FOLDER / "atis"
    DL_DOWNLOAD_RESULT = {file: file for file in _iob.FILES.values()}


@pytest.fixture
def downloaded(monkeypatch, tmp_path):
    """The download manager hands out the dummy files; nothing local is found."""

    def download(self, urls):
        places = {f.url: (s.name, f.name) for s in _sources.SOURCES.values() for f in s.files}
        root = tfds.core.Path(dummy.FOLDER)
        return {key: root.joinpath(*places[url]) for key, url in urls.items()}

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    monkeypatch.delenv(_data.VARIABLE, raising=False)
    original = tfds.core.DatasetBuilder.__init__
    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "__init__",
        lambda self, **options: original(self, **{**options, "data_dir": tmp_path}),
    )


def test_downloaded_rolls_are_the_local_ones(downloaded, monkeypatch):
    for split, size in (("train", 5), ("validation", 2), ("test", 3)):
        monkeypatch.setattr(JSBChorales, f"{split}_size", size)
    with dummy.patched("poly_music"):
        fetched, local = tasks.get("jsb"), tasks.get("jsb", data_dir=dummy.FOLDER)
        for split in ("train", "validation", "test"):
            assert len(fetched.pieces(split)) == fetched.size(split)
            for a, b in zip(fetched.pieces(split), local.pieces(split), strict=True):
                assert a.dtype == b.dtype == np.uint8
                np.testing.assert_array_equal(a, b)


def test_downloaded_utterances_are_the_local_ones(downloaded):
    with dummy.patched("atis"):
        assert _iob.load(lambda: Atis) == _iob.load(None, dummy.FOLDER)
