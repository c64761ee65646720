"""Piano rolls: files, batches, padding, the published score, and MIDI files and back."""

import dummy_sources as dummy
import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import tasks
from rnnzoo.metrics import FrameLoss, FrameNLL
from rnnzoo.tasks import _rolls
from rnnzoo.tasks.midi import from_midi, to_midi
from rnnzoo.tasks.polyphonic_music import JSBChorales, Nottingham

SPLITS = ("train", "validation", "test")
SIZES = {JSBChorales: (5, 2, 3), Nottingham: (4, 3, 2)}


@pytest.fixture
def small(monkeypatch):
    """The dummy files are the originals; returns a function that makes a task on them."""
    for kind, sizes in SIZES.items():
        for split, size in zip(SPLITS, sizes):
            monkeypatch.setattr(kind, f"{split}_size", size)
    with dummy.patched("poly_music"):
        yield lambda name="jsb", **options: tasks.get(name, data_dir=dummy.FOLDER, **options)


def published_nll(y, logits):
    """The sum over frames and keys, in float64 and in the form of the published code."""
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return -np.trace(y @ np.log(p).T + (1 - y) @ np.log(1 - p).T)


@pytest.mark.parametrize(
    ("name", "pieces", "frames", "notes"),
    [
        ("jsb", (229, 76, 77), (13_807, 4_602, 4_725), (53_824, 17_811, 18_367)),
        ("nottingham", (694, 173, 170), (176_561, 45_513, 44_463), (699_403, 180_192, 177_421)),
    ],
)
def test_true_counts(real_data, name, pieces, frames, notes):
    task = tasks.get(name, data_dir=real_data("poly_music"))
    for split, count, total, sounding in zip(SPLITS, pieces, frames, notes):
        rolls = task.pieces(split)
        assert (len(rolls), task.size(split)) == (count, count)
        assert (sum(map(len, rolls)), sum(int(r.sum()) for r in rolls)) == (total, sounding)
        assert int(task.lengths(split).sum()) == total - count


@pytest.mark.parametrize("name", ["jsb", "nottingham"])
def test_each_piece_is_handed_out_once_padded_and_shifted(small, name):
    task = small(name, batch_size=2)
    for split in SPLITS:
        wanted = sorted(roll.tobytes() for roll in task.pieces(split))
        found = []
        for x, y in getattr(task, split):
            assert x.shape == y.shape
            x, y = x.numpy(), y.numpy()
            real = (y >= 0).all(axis=-1)
            assert real.sum(axis=1).max() == y.shape[1]  # as long as the longest, no longer
            for row in range(len(x)):
                n = real[row].sum()
                assert real[row, :n].all()
                assert (x[row, n:] == -1).all()
                assert (y[row, n:] == -1).all()
                np.testing.assert_array_equal(x[row, 1:n], y[row, : n - 1])
                roll = np.concatenate([x[row, :1], y[row, :n]])
                found.append(roll.astype(np.uint8).tobytes())
        assert sorted(found) == wanted


def test_epochs_differ_and_can_be_had_again(real_data):
    task = tasks.get("jsb", data_dir=real_data("poly_music"), seed=4)
    passes = [[x.numpy() for x, _ in task.train] for _ in range(3)]
    assert task.epoch == 3
    assert [sum(map(len, p)) for p in passes] == [229] * 3
    shapes = [[x.shape for x in p] for p in passes]
    assert len(passes[0]) == 29
    assert shapes[0] != shapes[1]
    fresh = tasks.get(**task.get_config())
    fresh.epoch = 2
    for a, b in zip(fresh.train, passes[2], strict=True):
        np.testing.assert_array_equal(a[0], b)
    padding = [
        sum((x[..., 0] < 0).sum() for x in p) / sum(x[..., 0].size for x in p) for p in passes
    ]
    lengths = task.lengths("train")
    mixed = np.mean([lengths[i::29].max() for i in range(29)])
    unsorted = 1 - lengths.mean() / mixed
    assert max(padding) < 0.15 < unsorted


def test_the_metric_is_the_published_score_over_uneven_batches(small):
    task = small(batch_size=2)
    rng = np.random.default_rng(1)
    metric, total, frames = FrameNLL(), 0.0, 0
    for x, y in task.train:
        logits = rng.normal(size=x.shape).astype(np.float32) * 3
        metric.update_state(y, logits)
        nats = 0.0
        for row in range(len(x)):
            n = int((y[row, :, 0] >= 0).numpy().sum())
            nats += published_nll(y[row, :n].numpy(), logits[row, :n])
        count = int((y[..., 0] >= 0).numpy().sum())
        assert float(FrameLoss()(y, logits)) == pytest.approx(nats / count, rel=1e-5)
        total, frames = total + nats, frames + count
    assert float(metric.result()) == pytest.approx(total / frames, rel=1e-5)
    assert frames == sum(len(roll) - 1 for roll in task.pieces("train"))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(small, bidirectional):
    task = small(batch_size=5)
    layer = keras.layers.LSTM(4)
    model = task.build_model(keras.layers.Bidirectional(layer) if bidirectional else layer)
    x, y = task.arrays("train")
    lengths = task.lengths("train")
    assert lengths.min() < lengths.max()

    def gradients(pairs):
        with tf.GradientTape() as tape:
            loss = sum(w * task.loss(b, model(a)) for a, b, w in pairs)
        return float(loss), tape.gradient(loss, model.trainable_variables)

    whole, together = gradients([(x, y, 1.0)])
    alone = [(x[i : i + 1, :n], y[i : i + 1, :n], n / lengths.sum()) for i, n in enumerate(lengths)]
    for i, n in enumerate(lengths):
        np.testing.assert_allclose(model(x)[i, :n], model(x[i : i + 1, :n])[0], atol=1e-6)
    parts, apart = gradients(alone)
    assert whole == pytest.approx(parts, rel=1e-5)
    for g, h in zip(together, apart):
        np.testing.assert_allclose(g, h, atol=1e-5)


def test_baseline_is_the_score_of_the_frequencies(small):
    task = small()
    train = np.concatenate([roll[1:] for roll in task.pieces("train")]).astype(np.float64)
    p = (train.sum(0) + 1) / (len(train) + 2)
    metric = FrameNLL()
    for _, y in task.test:
        metric.update_state(y, np.broadcast_to(np.log(p / (1 - p)), y.shape).astype(np.float32))
    assert task.baseline["nll"] == pytest.approx(float(metric.result()), rel=1e-5)


def test_subset_is_spread_over_the_lengths(small):
    task = small(batch_size=2)
    rows = [len(y) for _, y in task.subset("train", 3)]
    assert rows == [2, 1]
    lengths = [int((r[:, 0] >= 0).numpy().sum()) for _, y in task.subset("train", 3) for r in y]
    assert lengths == [task.lengths("train")[i] for i in (0, 2, 4)]
    with pytest.raises(ValueError, match=r"`limit` .* at most the 5 sequences .*limit=6"):
        task.subset("train", 6)


def test_damaged_files_are_told(tmp_path):
    import scipy.io

    with pytest.raises(tasks.DataError, match=r"x.mat must be a MATLAB file of version 5"):
        _rolls.parse(b"nonsense", "x.mat")

    def parsed(**variables):
        scipy.io.savemat(tmp_path / "x.mat", variables)
        return _rolls.parse((tmp_path / "x.mat").read_bytes(), "x.mat")

    def cells(roll):
        row = np.empty((1, 1), object)
        row[0, 0] = np.asarray(roll)
        return dict.fromkeys(_rolls.VARIABLES.values(), row)

    with pytest.raises(tasks.DataError, match=r"the variable traindata, .*Received: \['other'\]"):
        parsed(other=np.ones(3))
    with pytest.raises(tasks.DataError, match=r"traindata\[0\] .*\[T, 88\].*shape \[4, 87\]"):
        parsed(**cells(np.zeros([4, 87])))
    with pytest.raises(tasks.DataError, match=r"T at least 2. Received: shape \[1, 88\]"):
        parsed(**cells(np.zeros([1, 88])))
    with pytest.raises(tasks.DataError, match=r"must hold 0 and 1 only"):
        parsed(**cells(np.full([4, 88], 2.0)))


@pytest.mark.parametrize("hold", [True, False])
def test_roll_to_midi_and_back(tmp_path, hold):
    rng = np.random.default_rng(5)
    for frames, share in ((1, 0.5), (30, 0.1), (12, 1.0), (9, 0.0)):
        roll = (rng.random([frames, 88]) < share).astype(np.uint8)
        roll[-1] = 0 if frames > 1 else 1  # ends in silence, which must not be lost
        path = to_midi(roll, tmp_path / "roll.mid", seconds_per_frame=0.25, hold=hold)
        np.testing.assert_array_equal(from_midi(path), roll)
    assert from_midi(path).dtype == np.uint8


def test_a_held_note_is_struck_once_and_lasts(tmp_path):
    import mido

    roll = np.zeros([4, 88], bool)
    roll[1:4, 39] = True
    for hold, strikes in ((True, 1), (False, 3)):
        file = mido.MidiFile(to_midi(roll, tmp_path / "c.mid", seconds_per_frame=0.3, hold=hold))
        notes = [m for m in file.tracks[0] if m.type == "note_on"]
        assert [(m.note, m.velocity) for m in notes] == [(60, 80)] * strikes
        assert file.length == pytest.approx(4 * 0.3, rel=1e-3)
    first = next(m for m in file if m.type == "note_on")
    assert first.time == pytest.approx(0.3, rel=1e-3)


BAD_MIDI = [
    (np.zeros([3, 87]), {}, ValueError, r"`roll` must have the shape \[T, 88\].*\[3, 87\]"),
    (np.zeros([0, 88]), {}, ValueError, r"T at least 1. Received: shape \[0, 88\]"),
    (np.full([3, 88], 0.5), {}, ValueError, "`roll` must hold 0 and 1 only"),
    (np.zeros([3, 88]), {"hold": 1}, TypeError, "`hold` must be True or False"),
    (np.zeros([3, 88]), {"seconds_per_frame": 0}, ValueError, "`seconds_per_frame` .*=0"),
    (np.zeros([3, 88]), {"seconds_per_frame": 17}, ValueError, "`seconds_per_frame` .*=17"),
]


@pytest.mark.parametrize(("roll", "options", "error", "words"), BAD_MIDI)
def test_what_is_no_roll_is_refused(tmp_path, roll, options, error, words):
    with pytest.raises(error, match=words):
        to_midi(roll, tmp_path / "x.mid", **options)
    assert not list(tmp_path.iterdir())


def test_what_is_no_midi_file_of_a_roll_is_refused(tmp_path):
    import mido

    path = tmp_path / "x.mid"
    with pytest.raises(FileNotFoundError):
        from_midi(path)
    path.write_bytes(b"RIFF no midi")
    with pytest.raises(ValueError, match=r"`path` must be a MIDI file. Received: path="):
        from_midi(path)
    for note, time, words in ((20, 480, "notes of a piano"), (60, 100, "whole quarters only")):
        track = mido.MidiTrack([mido.Message("note_on", note=note, velocity=9, time=time)])
        mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(path)
        with pytest.raises(ValueError, match=words):
            from_midi(path)
