"""ATIS: the slots of a flight request, word by word, and its intent."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks, models
from rnnzoo.layers import WordWindows
from rnnzoo.metrics.span_f1 import SpanF1
from rnnzoo.tasks import _iob
from rnnzoo.tasks._bucketed import BucketedTask
from rnnzoo.tasks.smnist import _path

TARGETS = ("slots", "intent", "both")
NO_WORD = -1


class Atis(BucketedTask):
    """ATIS: tag the slots of a spoken flight request, tell its intent, or both.

        x = w_1 ... w_T (numbers of words),   y = tag_1 ... tag_T,   intent

    The official split: 4,478 utterances train, 500 validate, 893 test. The vocabulary is that of
    the training set: its words that occur at least `min_count` times; every other word, and so
    every word first met in validation or test, is ``<unk>``, which is trained where `min_count` is
    2 or more. The tags (127, with ``O``) and the intents (26) are those of all three files, so that
    a span of a type never seen in training counts as missed. Intents of several parts
    (``atis_flight#atis_airfare``) are one class each.

    With `window` above 1 a step sees a word between its neighbours, so that the tag of "new" may
    depend on the "york" after it without a layer that reads backwards; beyond the ends stands
    word 0.

    Utterances of similar length share a batch, padded at the end with word 0, which `build_model`
    masks, and with the target -1, which loss and metrics leave out.

    Args:
        target: "slots" (default), "intent" or "both".
        window: how many words a step sees, an odd number (default 3: one on each side).
        min_count: at least 1 (default 2).
        embedding_size: of the word vectors, at least 1 (default 100).
        dropout: of the word vectors and of what the heads see, in [0, 1) (default 0.5).
        data_dir: a folder that holds the folder ``atis``, or None (default): the folder that
            RNNZOO_DATA_DIR names, then ``~/.cache/rnnzoo``, then a download through TensorFlow
            Datasets.
        batch_size: see `Task` (default 16).
        seed: see `Task`.

    Attributes:
        words, tags, intents: the names by number, read at first use.

    Shapes and dtypes: x `[B, T, window]` int32 (`[B, T]` for window 1); y tags `[B, T]` int32
    and/or intent `[B]` int32; logits `[B, T, 127]` and/or `[B, 26]`. With "both" targets and
    predictions are dicts with the keys "slots" and "intent", and the losses are added. The intent
    is read from the last state, or with "both" from the mean output of the words.

    Baseline: the tags that each word has in training, wherever it stands, and the intents'
    frequencies, scored on the test set.

    Errors: `rnnzoo.tasks.DataError` (a `ValueError`) at the first use of the data, if a file is
    missing, damaged, or not the original, or if the download fails.

    Source: Hemphill, Godfrey & Doddington (1990); files of the JointSLU repository (Hakkani-Tür et
    al., 2016).

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("atis").size("train")
    4478
    """

    name = "atis"
    default_layer = "lstm"
    monitor_mode = "max"
    train_size, validation_size, test_size = 4_478, 500, 893

    def __init__(
        self,
        *,
        target="slots",
        window=3,
        min_count=2,
        embedding_size=100,
        dropout=0.5,
        data_dir=None,
        batch_size=16,
        seed=0,
    ):
        super().__init__(batch_size, seed)
        self.target = _checks.choice("target", target, TARGETS)
        self.window = _checks.integer("window", window)
        if self.window % 2 == 0:
            raise ValueError(f"`window` must be odd. Received: window={window}")
        self.input_shape = (None,) if self.window == 1 else (None, self.window)
        self.min_count = _checks.integer("min_count", min_count)
        self.embedding_size = _checks.integer("embedding_size", embedding_size)
        self.dropout = _checks.real("dropout", dropout, 0.0, 1.0, high_open=True)
        self.data_dir = _path("data_dir", data_dir)
        self.monitor = {
            "slots": "val_f1",
            "intent": "val_accuracy",
            "both": "val_slots_f1",
        }[self.target]
        self._read = None

    @property
    def words(self):
        return self._data()["words"]

    @property
    def tags(self):
        return self._data()["tags"]

    @property
    def intents(self):
        return self._data()["intents"]

    @property
    def output_shape(self):
        return self._pick((None, len(self.tags)), (len(self.intents),))

    @property
    def loss(self):
        entropy = keras.losses.SparseCategoricalCrossentropy
        slots = entropy(from_logits=True, ignore_class=NO_WORD)
        return self._pick(slots, entropy(from_logits=True))

    @property
    def metrics(self):
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        return self._pick([SpanF1(self.tags)], [accuracy])

    @property
    def baseline(self):
        slots, intent = self._baselines()
        if self.target != "both":
            return self._pick(slots, intent)
        both = {f"slots_{k}": v for k, v in slots.items()}
        both |= {f"intent_{k}": v for k, v in intent.items()}
        return {"loss": slots["loss"] + intent["loss"], **both}

    def utterances(self, split):
        """The utterances of a split, `(words, tags, intent)`, in the order of the file."""
        self.size(split)
        return self._data()["splits"][split]

    def optimizer(self):
        """Adam at 2e-3, the gradient's global norm clipped to 1; the published rates differ."""
        return keras.optimizers.Adam(2e-3, global_clipnorm=1.0)

    def build_model(self, layer):
        """Word vectors, the recurrent layer or stack, and a head for each target.

        Args and errors: see `Task.build_model`. The word vectors mask the padding.
        """
        inputs = keras.Input(shape=self.input_shape, dtype="int32", name="words")
        embedding = keras.layers.Embedding if self.window == 1 else WordWindows
        vectors = embedding(
            len(self.words), self.embedding_size, mask_zero=True, name="word_vectors"
        )(inputs)
        vectors = keras.layers.Dropout(self.dropout)(vectors)
        hidden = models.recurrent(layer, vectors, per_step=self.target != "intent")
        hidden = keras.layers.Dropout(self.dropout)(hidden)
        if self.target == "slots":
            outputs = models.dense(hidden, len(self.tags), "logits")
        elif self.target == "intent":
            outputs = models.dense(hidden, len(self.intents), "logits")
        else:
            mean = keras.layers.GlobalAveragePooling1D()(hidden)
            outputs = {
                "slots": models.dense(hidden, len(self.tags), "slots"),
                "intent": models.dense(mean, len(self.intents), "intent"),
            }
        return keras.Model(inputs, outputs, name=self.name)

    def _pick(self, slots, intent):
        both = {"slots": slots, "intent": intent}
        return both if self.target == "both" else both[self.target]

    def _data(self):
        if self._read is None:
            splits = _iob.load(_builder, self.data_dir)
            self._read = {
                "splits": splits,
                "words": _iob.vocabulary(splits["train"], self.min_count),
                "tags": _iob.inventory(splits, "tags"),
                "intents": _iob.inventory(splits, "intent"),
            }
        return self._read

    def _sequences(self, split):
        words = {word: n for n, word in enumerate(self.words)}
        tags = {tag: n for n, tag in enumerate(self.tags)}
        intents = {intent: n for n, intent in enumerate(self.intents)}
        utterances = self.utterances(split)
        unknown = words[_iob.UNKNOWN]
        numbers = np.array([words.get(w, unknown) for u in utterances for w in u.words], np.int32)
        tagged = np.array([tags[tag] for u in utterances for tag in u.tags], np.int32)
        rows = np.array([intents[u.intent] for u in utterances], np.int32)
        return (numbers, tagged), [len(u.words) for u in utterances], (rows,)

    def _decode_padded(self, real, words, tags, intents):
        slots = tf.where(real, tags, NO_WORD)
        return self._windows(tf.where(real, words, 0)), self._pick(slots, intents)

    def _windows(self, words):
        if self.window == 1:
            return words
        reach, steps = self.window // 2, tf.shape(words)[1]
        padded = tf.pad(words, [[0, 0], [reach, reach]])
        return tf.stack([padded[:, i : i + steps] for i in range(self.window)], axis=-1)

    def _baselines(self):
        """The scores of tags by word alone, and of intents by their frequency."""
        (words, tags), _, (intents,) = self._sequences("train")
        counts = np.zeros([len(self.words), len(self.tags)])
        np.add.at(counts, (words, tags), 1)
        # Each word has seen one more tag, drawn by the frequencies of all tags, and they one of
        # each kind: what was not met in training gets some probability.
        overall = (counts.sum(axis=0) + 1) / (counts.sum() + counts.shape[1])
        table = np.log((counts + overall) / (counts.sum(axis=1, keepdims=True) + 1))
        known = np.bincount(intents, minlength=len(self.intents))
        guess = np.log((known + 1.0) / (known.sum() + len(known)))
        (words, tags), lengths, (intents,) = self._sequences("test")
        metric = SpanF1(self.tags)
        for begin, end in zip(np.cumsum(lengths) - lengths, np.cumsum(lengths)):
            metric.update_state(tags[None, begin:end], table[words[None, begin:end]])
        return (
            {"loss": -float(table[words, tags].mean()), "f1": float(metric.result())},
            {
                "loss": -float(guess[intents].mean()),
                "accuracy": float((intents == known.argmax()).mean()),
            },
        )


def _builder():
    from rnnzoo.tasks.originals.builders.atis import Atis as Builder

    return Builder
