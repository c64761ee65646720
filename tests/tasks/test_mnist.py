"""MNIST: its files, its order whichever way it comes, and the sequences made of it."""

import gzip
import hashlib

import numpy as np
import pytest

from rnnzoo import tasks
from rnnzoo.tasks import _mnist
from rnnzoo.tasks.originals import _data
from rnnzoo.tasks.smnist import SequentialMNIST

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8), np.arange(12, dtype=np.uint8) % 10
TEST = RNG.integers(0, 256, (5, 28, 28), dtype=np.uint8), np.arange(5, dtype=np.uint8)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder of 12 + 5 images in the real format, and the sizes and hashes that go with it."""
    contents = dict(zip([*_mnist.FILES["train"], *_mnist.FILES["test"]], [*TRAIN, *TEST]))
    (tmp_path / "mnist").mkdir()
    for part, files in _mnist.FILES.items():
        hashes = {}
        for file in files:
            content = idx(contents[file])
            (tmp_path / "mnist" / f"{file}.gz").write_bytes(gzip.compress(content))
            hashes[file] = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(_mnist.FILES, part, hashes)
    monkeypatch.setattr(SequentialMNIST, "train_size", 8)
    monkeypatch.setattr(SequentialMNIST, "validation_size", 4)
    monkeypatch.setattr(SequentialMNIST, "test_size", 5)
    return tmp_path


@pytest.mark.parametrize("name", ["smnist", "pmnist"])
def test_split_scale_and_order(tiny, name):
    task = tasks.get(name, data_dir=tiny, batch_size=3)
    pixels = np.concatenate([TRAIN[0], TEST[0]]).reshape(17, 784)
    labels = np.concatenate([TRAIN[1], TEST[1]])
    order = np.random.RandomState(150).permutation(784) if name == "pmnist" else np.arange(784)
    for split, rows in (
        ("train", slice(0, 8)),
        ("validation", slice(8, 12)),
        ("test", slice(12, 17)),
    ):
        x, y = task.arrays(split)
        np.testing.assert_array_equal(x[..., 0], (pixels[rows][:, order] / np.float32(255)))
        np.testing.assert_array_equal(y, labels[rows])
        assert x.dtype == np.float32
        assert task.size(split) == len(x)
    assert [len(y) for _, y in task.train] == [3, 3, 2]


def test_rows_and_downsampling(tiny):
    x, _ = tasks.get("smnist", rows=True, data_dir=tiny).arrays("test")
    np.testing.assert_array_equal(x, TEST[0] / np.float32(255))
    for size, side in ((2, 14), (4, 7), (7, 4), (14, 2)):
        mean = TEST[0].reshape(5, side, size, side, size).mean(axis=(2, 4)) / 255
        task = tasks.get("smnist", downsample=size, data_dir=tiny)
        assert task.input_shape == (side * side, 1)
        np.testing.assert_allclose(task.arrays("test")[0][..., 0], mean.reshape(5, -1), rtol=3e-7)
        folded = tasks.get("smnist", downsample=size, rows=True, data_dir=tiny)
        assert folded.input_shape == (side, side)
        np.testing.assert_allclose(folded.arrays("test")[0], mean, rtol=3e-7)


def test_white_is_exactly_one(tiny):
    sums = np.full((1, 49), 255 * 16, np.uint16)
    x, _ = tasks.get("smnist", downsample=4, data_dir=tiny)._decode(sums, np.zeros(1, np.uint8))
    assert set(x.numpy().ravel()) == {np.float32(1.0)}


def test_permutation(tiny):
    a, b = tasks.get("pmnist"), tasks.get("pmnist", seed=9)
    np.testing.assert_array_equal(a.permutation, b.permutation)
    assert sorted(a.permutation) == list(range(784))
    assert (a.permutation != tasks.get("pmnist", permutation_seed=151).permutation).any()
    small = tasks.get("pmnist", downsample=4, rows=True, permutation_seed=2, data_dir=tiny)
    assert sorted(small.permutation) == list(range(49))
    plain = tasks.get("smnist", downsample=4, data_dir=tiny).arrays("train")[0][..., 0]
    np.testing.assert_array_equal(
        small.arrays("train")[0].reshape(8, 49), plain[:, small.permutation]
    )


def test_the_environment_variable_names_the_folder(tiny, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tiny))
    np.testing.assert_array_equal(tasks.get("smnist").arrays("test")[1], TEST[1])


def test_unpacked_files_are_read_too(tiny):
    for path in (tiny / "mnist").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(tasks.get("smnist", data_dir=tiny).arrays("test")[1], TEST[1])


def refused(folder, split="train"):
    with pytest.raises(tasks.DataError) as caught:
        tasks.get("smnist", data_dir=folder).arrays(split)
    return str(caught.value)


def test_a_missing_file_is_told(tiny):
    (tiny / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    message = refused(tiny)
    assert "train-labels-idx1-ubyte.gz" in message
    assert str(tiny / "mnist") in message
    assert _mnist.FILES["train"]["train-labels-idx1-ubyte"] in message
    tasks.get("smnist", data_dir=tiny).arrays("test")  # whose files are there


def test_a_missing_folder_is_told(tmp_path):
    assert "must be a folder that holds the folder mnist" in refused(tmp_path)


def test_a_wrong_hash_is_told(tiny):
    path = tiny / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(TRAIN[0][::-1])))
    message = refused(tiny)
    assert f"The content of {path} is not the original" in message
    assert _mnist.FILES["train"]["train-images-idx3-ubyte"] in message


@pytest.mark.parametrize("damage", [lambda c: c[:-20], lambda c: b"no gzip" + c, lambda c: b""])
def test_a_damaged_file_is_told(tiny, damage):
    path = tiny / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    message = refused(tiny)
    assert str(path) in message
    assert _mnist.FILES["train"]["train-images-idx3-ubyte"] in message


def test_idx_is_read():
    for array in (*TRAIN, np.zeros((0, 28, 28), np.uint8)):
        np.testing.assert_array_equal(_data.parse_idx(idx(array), "file"), array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "file must start as an IDX file"),
        (b"\x00\x00\x0d\x01" + bytes(8), "of unsigned bytes.*Received: 00 00 0d 01"),
        (b"\x00\x01\x08\x01" + bytes(8), "Received: 00 01 08 01"),
        (b"\x00\x00\x08\x00", "Received: 00 00 08 00"),
        (idx(TRAIN[0])[:12], "file is truncated: .* 3 axes has 16 bytes. Received: 12 bytes"),
        (idx(TRAIN[1])[:-1], r"must have 20 bytes for the shape \(12,\).*Received: 19 bytes"),
        (idx(TRAIN[1]) + b"\x00", "must have 20 bytes .*Received: 21 bytes"),
        (b"\x00\x00\x08\x02" + b"\xff" * 8, "must have 18446744065119617037 bytes"),
    ],
)
def test_idx_is_read_strictly(content, words):
    with pytest.raises(tasks.DataError, match=words):
        _data.parse_idx(content, "file")


def test_tensorflow_datasets_order_is_undone(tiny, monkeypatch):
    hashing = pytest.importorskip("tensorflow_datasets.core.hashing")
    monkeypatch.delenv("RNNZOO_DATA_DIR", raising=False)

    def stored(part):
        images, labels = TRAIN if part == "train" else TEST
        order = sorted(range(len(labels)), key=hashing.Hasher(part).hash_key)
        return images[order], labels[order], tiny

    monkeypatch.setattr(_mnist, "_download", stored)
    local, fetched = tasks.get("smnist", data_dir=tiny), tasks.get("smnist")
    for split in ("train", "validation", "test"):
        for ours, theirs in zip(local.arrays(split), fetched.arrays(split)):
            np.testing.assert_array_equal(ours, theirs)
    monkeypatch.setattr(_mnist, "_download", lambda part: (*TRAIN, tiny))
    with pytest.raises(tasks.DataError, match=r"train-images-idx3-ubyte .* is not the original"):
        tasks.get("smnist").arrays("train")


def test_a_failed_download_is_told(monkeypatch):
    monkeypatch.delenv("RNNZOO_DATA_DIR", raising=False)

    def offline(part):
        raise OSError("no route to host")

    monkeypatch.setattr(_mnist, "_download", offline)
    with pytest.raises(tasks.DataError) as caught:
        tasks.get("smnist").arrays("train")
    message = str(caught.value)
    for words in ("OSError: no route to host", "RNNZOO_DATA_DIR", "`data_dir`", "folder mnist"):
        assert words in message
    for files in _mnist.FILES.values():
        for file, sha256 in files.items():
            assert f"{file}.gz (SHA-256 unpacked: {sha256})" in message


def test_the_originals(real_data):
    task = tasks.get("smnist", data_dir=real_data("mnist"))
    counts = {}
    for split in ("train", "validation", "test"):
        x, y = task.arrays(split)
        assert x.shape == (task.size(split), 784, 1)
        assert (x.min(), x.max()) == (0.0, 1.0)
        counts[split] = np.bincount(y, minlength=10).tolist()
    # The published class counts of the test set, and of the 60,000 together.
    assert counts["test"] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.add(counts["train"], counts["validation"]).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert [sum(c) for c in counts.values()] == [50_000, 10_000, 10_000]
    assert [int(getattr(task, s).cardinality()) for s in counts] == [500, 100, 100]
    assert task.arrays("train")[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
