"""The text tasks: the layout of the stream, true counts, baselines, and the state carried along."""

import json
import math

import dummy_sources as dummy
import keras
import numpy as np
import pytest

import rnnzoo
from rnnzoo import tasks, training
from rnnzoo.tasks import _text

SETS = {
    "ptb_word": "ptb",
    "ptb_char": "ptb",
    "wikitext2": "wikitext-2",
    "tiny_shakespeare": "tiny_shakespeare",
}


@pytest.fixture(autouse=True)
def _dummy_files(request):
    """Small files in place of the originals, but for the tests on real data."""
    if "real_data" in request.fixturenames:
        yield
        return
    with dummy.patched("ptb"), dummy.patched("wikitext-2"), dummy.patched("tiny_shakespeare"):
        yield


def get(name="ptb_word", **options):
    return tasks.get(name, **{"data_dir": dummy.FOLDER, "evaluation_batch_size": 2, **options})


def test_tokens_as_published():
    tokens = _text.words(b" a <unk> N \n\n b \n", "file")
    assert " ".join(tokens) == "a <unk> N <eos> <eos> b <eos>"
    spelled = _text.spelled_words(b" a <unk> \n bc \n", "file")
    assert "".join(spelled[:-1]) == "a_<unk>_<eos>bc_"
    assert spelled[-1] == "<eos>"
    with pytest.raises(tasks.DataError, match=r"Line 2 of file must begin with a space.*'b'"):
        _text.spelled_words(b" a\nb\n", "file")


def test_vocabulary_is_that_of_the_training_set():
    task = get()
    text = (dummy.FOLDER / "ptb" / "ptb.train.txt").read_text().replace("\n", " <eos> ").split()
    assert sorted(task.vocabulary) == sorted(set(text))
    counts = [text.count(token) for token in task.vocabulary]
    assert counts == sorted(counts, reverse=True)
    assert task.vocabulary[:2] == ("<eos>", "the")  # four of each: in code point order
    read = " ".join(task.vocabulary[n] for n in task.tokens("test"))
    assert read == "the <unk> saw N <unk> <eos> no dog was there <eos> away <eos>"
    assert task.tokens("test").dtype == np.int32


def test_a_stranger_without_unk_is_told():
    with pytest.raises(tasks.DataError, match="the test set of x has the token 'c', which"):
        _text.encode(["a", "c"], {"a": 0}, "the test set of x")


@pytest.mark.parametrize(("rows", "steps"), [(1, 4), (3, 4), (4, 100), (5, 1)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_go_on_from_batch_to_batch(rows, steps, split):
    task = get(batch_size=rows, evaluation_batch_size=rows, steps=steps)
    tokens = task.tokens(split)
    batches = [[part.numpy() for part in batch] for batch in getattr(task, split)]
    assert len(batches) == int(getattr(task, split).cardinality())
    x, y, weight = (np.concatenate(parts, axis=1) for parts in zip(*batches))
    length = math.ceil(len(tokens) / rows)
    assert x.shape == y.shape == weight.shape == (rows, length)
    columns = [batch[0].shape[1] for batch in batches]
    assert columns == [min(steps, length - begin) for begin in range(0, length, steps)]
    # Every token is a target once, and its input is the token before.
    kept = weight.ravel() == 1
    assert set(weight.ravel()) <= {0.0, 1.0}
    np.testing.assert_array_equal(y.ravel()[kept], tokens)
    before = np.concatenate([[task.vocabulary.index("<eos>")], tokens[:-1]])
    np.testing.assert_array_equal(x.ravel()[kept], before)
    for whole, part in zip(task.arrays(split), (x, y, weight)):
        np.testing.assert_array_equal(whole, part)
    assert task.size(split) == len(tokens)


def test_every_pass_is_the_same_and_counted():
    task = get(batch_size=2, steps=5)
    first, second = ([b[1].numpy().tolist() for b in task.train] for _ in range(2))
    assert first == second
    assert task.epoch == 2


def test_targets_beside_the_tokens():
    task = get("wikitext2", batch_size=2, steps=5)
    x, y, _ = next(iter(task.train))
    assert sorted(x) == ["targets", "tokens"]
    np.testing.assert_array_equal(x["targets"], y)
    assert task.output_shape == (5,)
    full = get("wikitext2", softmax="full", steps=5)
    assert full.output_shape == (5, len(full.vocabulary))


@pytest.mark.parametrize("name", SETS)
def test_baselines(name):
    task = get(name)
    train, test = task.tokens("train").tolist(), task.tokens("test").tolist()
    nats = -sum(math.log(train.count(t) / len(train)) for t in test) / len(test)
    assert task.baseline["loss"] == pytest.approx(nats)
    assert task.uniform["loss"] == pytest.approx(math.log(len(task.vocabulary)))
    if task.characters:
        assert task.baseline["bits_per_character"] == pytest.approx(nats / math.log(2))
        assert task.uniform["bits_per_character"] == pytest.approx(math.log2(len(task.vocabulary)))
    else:
        assert task.baseline["perplexity"] == pytest.approx(math.exp(nats))
        assert task.uniform["perplexity"] == pytest.approx(len(task.vocabulary))


def trainer_of(task, k1=3):
    model = task.build_model(keras.layers.GRU(4))
    trainer = rnnzoo.TruncatedBPTT(model, k1, stateful=True)
    trainer.compile("sgd", task.loss, metrics=task.metrics)
    return trainer


@pytest.mark.parametrize("softmax", ["full", "adaptive"])
def test_the_score_is_that_of_the_whole_stream(softmax):
    """Cut into batches of 4 steps, and as one batch: the same, to the token."""
    one = get(softmax=softmax, steps=1000, evaluation_batch_size=1)
    trainer = trainer_of(one)
    x, y, weight = one.arrays("test")
    assert weight.all()
    nats = trainer.model(x)
    if softmax == "full":
        nats = keras.ops.sparse_categorical_crossentropy(y, nats, from_logits=True)
    expected = math.exp(abs(float(np.mean(nats))))
    cut = get(softmax=softmax, steps=4, evaluation_batch_size=1)
    scores = trainer.evaluate(cut.test, verbose=0, return_dict=True)
    assert scores["perplexity"] == pytest.approx(expected, rel=1e-5)
    assert scores["loss"] == pytest.approx(math.log(expected), rel=1e-5)
    assert trainer.evaluate(cut.test, verbose=0, return_dict=True) == scores
    cold = trainer.model
    cold.compile(loss=one.loss, metrics=one.metrics)
    assert cold.evaluate(cut.test, verbose=0, return_dict=True) != pytest.approx(scores, rel=1e-4)


def test_training_goes_on_where_validation_interrupts():
    """The state carried in training is not touched by an evaluation in between."""
    task = get(batch_size=2, steps=3)
    batches = list(task.train)[:2]
    weights = []
    for interrupted in (False, True):
        keras.utils.set_random_seed(1)
        trainer = trainer_of(task)
        for batch in batches:
            trainer.train_on_batch(*batch)
            if interrupted:
                trainer.evaluate(task.test, verbose=0)
        weights.append(trainer.get_weights())
    for one, other in zip(*weights):
        np.testing.assert_array_equal(one, other)


def test_uneven_rows_of_a_stateful_evaluation_are_told():
    task = get(batch_size=2, steps=3)
    trainer = trainer_of(task)
    x, y, _ = task.arrays("train")
    with pytest.raises(ValueError, match=r"A stateful batch must have the size .*: 2, 1"):
        trainer.evaluate(np.concatenate([x, x[:1]]), np.concatenate([y, y[:1]]), 2, verbose=0)


@pytest.mark.parametrize("name", ["ptb_word", "ptb_char"])
def test_a_run_wraps_and_carries(name, tmp_path):
    options = {"data_dir": str(dummy.FOLDER), "evaluation_batch_size": 2, "batch_size": 4}
    record = training.train(
        name,
        "lstm",
        units=3,
        epochs=1,
        out_dir=tmp_path,
        learning_rate=0.1,
        task_options=options,
        model_options={"tied": True, "dropout": 0.1},
    )
    assert record["settings"]["k1"] == (35 if name == "ptb_word" else 100)
    assert record["settings"]["model"] == {"tied": True, "dropout": 0.1}
    assert record["monitor"] == f"val_{next(k for k in record['test'] if k != 'loss')}"
    best = rnnzoo.checkpoints.load_model(tmp_path / "best.keras")
    assert (best.stateful, best.k1) == (True, record["settings"]["k1"])
    assert json.loads((tmp_path / "metrics.json").read_text())["test"] == record["test"]
    measured = rnnzoo.presets.evaluate(tmp_path / "best.keras")
    assert measured["results"] == pytest.approx(record["test"])
    with pytest.raises(ValueError, match="`limit` must be None for a task on one long text"):
        rnnzoo.presets.evaluate(tmp_path / "best.keras", limit=3)


def test_bad_model_options_are_told(tmp_path):
    with pytest.raises(ValueError, match="`tide` must be an option of the model of the task ptb_"):
        training.train(
            "ptb_word",
            "lstm",
            epochs=1,
            out_dir=tmp_path,
            task_options={"data_dir": str(dummy.FOLDER)},
            model_options={"tide": True},
        )


BAD = [
    ("ptb_word", {"steps": 0}, ValueError, "`steps` must be an integer of at least 1"),
    ("ptb_word", {"evaluation_batch_size": 0}, ValueError, "`evaluation_batch_size` .*=0"),
    ("ptb_word", {"softmax": "sampled"}, ValueError, "`softmax` must be one of 'full', 'adaptive'"),
    ("ptb_char", {"softmax": "full"}, ValueError, "`softmax` must be an option of the task"),
    ("wikitext2", {"data_dir": 3}, TypeError, "`data_dir` must be a path or None"),
]


@pytest.mark.parametrize(("name", "options", "error", "words"), BAD)
def test_bad_options_are_told(name, options, error, words):
    with pytest.raises(error, match=words):
        get(name, **options)


def test_more_rows_than_tokens_are_told():
    with pytest.raises(ValueError, match=r"`batch_size` must be at most the 25 tokens .*=500"):
        get(batch_size=500).arrays("train")


def test_missing_data_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("RNNZOO_DATA_DIR", raising=False)
    with pytest.raises(tasks.DataError, match="`rnnzoo data fetch tiny_shakespeare` gets it"):
        tasks.get("tiny_shakespeare").vocabulary  # noqa: B018
    (tmp_path / "ptb").mkdir()
    with pytest.raises(tasks.DataError, match=r"file ptb.train.txt.gz .* is missing"):
        get(data_dir=tmp_path).vocabulary  # noqa: B018


# Tokens of each split, words alone, and the size of the vocabulary, of the data as distributed.
PUBLISHED = {
    "ptb_word": ((929_589, 73_760, 82_430), (887_521, 70_390, 78_669), 10_000),
    "ptb_char": ((5_059_550, 396_412, 446_184), (5_017_482, 393_042, 442_423), 50),
    "wikitext2": ((2_088_628, 217_646, 245_569), (2_051_910, 213_886, 241_211), 33_278),
    "tiny_shakespeare": ((1_003_854, 55_770, 55_770), None, 65),
}


@pytest.mark.parametrize("name", SETS)
def test_the_originals(name, real_data):
    task = tasks.get(name, data_dir=real_data(SETS[name]))
    sizes, words, vocabulary = PUBLISHED[name]
    assert tuple(task.size(split) for split in ("train", "validation", "test")) == sizes
    assert len(task.vocabulary) == vocabulary
    if words:
        end = task.vocabulary.index("<eos>")
        ends = [int((task.tokens(split) == end).sum()) for split in ("train", "validation", "test")]
        assert tuple(n - e for n, e in zip(sizes, ends)) == words
        lines = (36_718, 3_760, 4_358) if name == "wikitext2" else (42_068, 3_370, 3_761)
        assert tuple(ends) == lines
    x, y, weight = next(iter(task.train))
    x = x["tokens"] if isinstance(x, dict) else x
    assert x.shape == y.shape == weight.shape == (task.batch_size, task.steps)
