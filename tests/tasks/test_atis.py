"""ATIS: files, vocabulary, batches and padding, targets, and the official split's true counts."""

import dummy_sources as dummy
import keras
import numpy as np
import pytest
from references import conll

from rnnzoo import tasks
from rnnzoo.tasks import _iob
from rnnzoo.tasks.atis import Atis

SPLITS = ("train", "validation", "test")
LINE = b"BOS to boston EOS\tO O B-to atis_flight\n"


@pytest.fixture
def small(monkeypatch):
    for split, size in zip(SPLITS, (5, 2, 3)):
        monkeypatch.setattr(Atis, f"{split}_size", size)
    with dummy.patched("atis"):
        yield lambda **options: tasks.get("atis", data_dir=dummy.FOLDER, **options)


def test_true_counts(real_data):
    task = tasks.get("atis", data_dir=real_data("atis"), min_count=1)
    for split, count, words in zip(SPLITS, (4_478, 500, 893), (50_497, 5_703, 9_164)):
        utterances = task.utterances(split)
        assert (len(utterances), task.size(split)) == (count, count)
        assert sum(len(u.words) for u in utterances) == words
        assert int(task.lengths(split).sum()) == words
    assert (len(task.tags), len(task.intents)) == (127, 26)
    assert len(task.words) == 869 - 2 + 2  # without BOS and EOS, with padding and unknown
    assert len({t for u in task.utterances("train") for t in u.tags}) == 119 + 1


def test_vocabulary_is_that_of_the_training_set(small):
    words = small(min_count=1).words
    assert words[:5] == ["<pad>", "<unk>", "flights", "boston", "to"]
    assert set(words[2:]) == {w for u in small().utterances("train") for w in u.words}
    assert "denver" not in words
    frequent = small(min_count=2).words
    assert frequent[2:] == ["flights", "boston", "to", "fares", "from", "new", "york"]
    assert set(words) - set(frequent) == {"on", "monday", "morning", "show", "and"}


def test_batches_decode_to_the_utterances(small):
    for window in (1, 3, 5):
        task = small(window=window, min_count=1, target="both", batch_size=2)
        known = set(task.words)
        for split in SPLITS:
            found = []
            for x, y in getattr(task, split):
                x = x.numpy()
                slots, intent = y["slots"].numpy(), y["intent"].numpy()
                assert (x.dtype, slots.dtype, intent.dtype) == (np.int32,) * 3
                center = x if window == 1 else x[..., window // 2]
                if window > 1:
                    assert x.shape[-1] == window
                    padded = np.pad(center, [[0, 0], [window // 2] * 2])
                    for offset in range(window):
                        np.testing.assert_array_equal(
                            x[..., offset], padded[:, offset : offset + center.shape[1]]
                        )
                np.testing.assert_array_equal(center == 0, slots == -1)
                for row in range(len(center)):
                    n = (slots[row] >= 0).sum()
                    assert (slots[row, :n] >= 0).all()
                    words = [task.words[i] for i in center[row, :n]]
                    tags = [task.tags[i] for i in slots[row, :n]]
                    found.append((words, tags, task.intents[intent[row]]))
            wanted = [
                ([w if w in known else "<unk>" for w in u.words], list(u.tags), u.intent)
                for u in task.utterances(split)
            ]
            assert sorted(found) == sorted(wanted)
            assert any("<unk>" in words for words, _, _ in found) == (split != "train")


def test_classes_are_those_of_all_files_training_first(small):
    task = small()
    assert task.tags == ["B-day", "B-from", "B-time", "B-to", "I-from", "I-to", "O", "B-aircraft"]
    assert task.intents == [
        "atis_airfare", "atis_flight", "atis_flight#atis_airfare", "atis_aircraft"
    ]  # fmt: skip
    assert task.output_shape == (None, 8)
    assert small(target="intent").output_shape == (4,)
    assert small(target="both").output_shape == {"slots": (None, 8), "intent": (4,)}


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("target", ["slots", "intent", "both"])
def test_padding_changes_nothing(small, target, window):
    task = small(target=target, window=window, batch_size=5, embedding_size=3)
    layer = keras.layers.Bidirectional(keras.layers.LSTM(4))
    model = task.build_model(layer)
    x, y = task.arrays("train")
    lengths = task.lengths("train")
    outputs = model(x)
    for i, n in enumerate(lengths):
        alone = model(x[i : i + 1, :n])
        pairs = [(outputs, alone)] if target != "both" else [(outputs[k], alone[k]) for k in y]
        for whole, part in pairs:
            row = whole[i] if whole.ndim == 2 else whole[i, :n]
            np.testing.assert_allclose(row, part[0], atol=1e-6)
    if target == "slots":
        log_p = keras.ops.log_softmax(outputs).numpy()
        costs = [-log_p[i, t, y[i, t]] for i, n in enumerate(lengths) for t in range(n)]
        assert float(task.loss(y, outputs)) == pytest.approx(np.mean(costs), rel=1e-5)


def test_f1_of_evaluate_is_exact_over_the_whole_set(small):
    task = small(batch_size=2)
    model = task.build_model(keras.layers.LSTM(4))
    model.compile(loss=task.loss, metrics=task.metrics)
    found = model.evaluate(task.train, return_dict=True, verbose=0)["f1"]
    wanted, claimed = [], []
    for x, y in task._in_order("train"):
        best = np.argmax(model(x), axis=-1)
        for row, tags in zip(y.numpy(), best):
            n = (row >= 0).sum()
            wanted.append([task.tags[t] for t in row[:n]])
            claimed.append([task.tags[t] for t in tags[:n]])
    assert found == pytest.approx(conll.f1(wanted, claimed), abs=1e-6)


def test_baseline_tags_by_word_and_guesses_the_frequent_intent(small):
    task = small(target="both", min_count=1)
    train = task.utterances("train")
    seen = {}
    for u in train:
        for word, tag in zip(u.words, u.tags):
            seen.setdefault(word, []).append(tag)
    overall = [t for u in train for t in u.tags]

    def guess(word):
        tags = seen.get(word, overall)
        # between equals, the tag that is more frequent overall
        return max(set(tags), key=lambda t: (tags.count(t), overall.count(t)))

    test = task.utterances("test")
    expected = conll.f1([u.tags for u in test], [[guess(w) for w in u.words] for u in test])
    assert task.baseline["slots_f1"] == pytest.approx(expected, rel=1e-6)
    assert task.baseline["intent_accuracy"] == pytest.approx(2 / 3)
    # counts 3, 1, 1, 0 plus one each; test: airfare, flight, flight
    cost = -(np.log(2 / 9) + 2 * np.log(4 / 9)) / 3
    assert task.baseline["intent_loss"] == pytest.approx(cost, rel=1e-9)
    assert task.baseline["loss"] == pytest.approx(
        task.baseline["slots_loss"] + task.baseline["intent_loss"]
    )


BAD_LINES = [
    (b"BOS to boston\tO O B-to atis_flight\n", "must be BOS, words, EOS, a tab"),
    (b"to boston EOS\tO O B-to\n", "must be BOS, words, EOS"),
    (b"BOS to boston EOS\tO O atis_flight\n", "must .* and as many tags"),
    (b"BOS to boston EOS O O B-to atis_flight\n", "must .* a tab, and"),
    (b"BOS EOS\tO atis_flight\n", "must have a word"),
    (b"BOS to EOS\tO to atis_flight\n", "must have the tags O, B-x or I-x. Received: 'to'"),
]


@pytest.mark.parametrize(("line", "words"), BAD_LINES)
def test_malformed_lines_are_told_by_number(line, words):
    with pytest.raises(tasks.DataError, match=f"Line 2 of x.iob {words}"):
        _iob.parse(LINE + line, "x.iob")


def test_a_line_is_words_tags_and_intent():
    (one,) = _iob.parse(LINE, "x.iob")
    assert one == (("to", "boston"), ("O", "B-to"), "atis_flight")
