"""A task on one long text: rows that go on from batch to batch, and the next token at each step."""

import math

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.metrics.perplexity import BitsPerCharacter, Perplexity, TokenCrossEntropy
from rnnzoo.models import language_model
from rnnzoo.tasks import _text
from rnnzoo.tasks._task import SPLITS, Task
from rnnzoo.tasks.smnist import _path


class StreamTask(Task):
    """What the text tasks share: the layout of the stream, loss, metrics, baselines and model.

    The N tokens of a split are cut into `batch_size` rows of L = ceil(N / batch_size) tokens

        row b = tokens b L ... (b + 1) L - 1,   y = row,   x = the token before each of them

    and a batch is the next `steps` columns: row b of a batch goes on where row b of the batch
    before ended. Before the first token of all stands `start`. Every token is a target once; what
    is missing in the last row has weight 0, and the last batch is shorter.

    The state has to be carried from batch to batch: `TruncatedBPTT(model, k1, stateful=True)` does
    so in `fit` and in `evaluate`, where every row then is scored as one contiguous stream of its
    own. With `evaluation_batch_size=1` that is the split as one stream; with more rows each begins
    at zero state. A model that is not wrapped begins every batch at zero state.

    A subclass gives `_splits` (the tokens of each split) and `start`.
    """

    stream = True
    per_step = True
    characters = False
    monitor = "val_perplexity"
    default_layer = "lstm"
    default_units = 200
    default_k1 = 35
    start = _text.END

    def __init__(self, steps, batch_size, evaluation_batch_size, softmax, data_dir, seed):
        super().__init__(batch_size, seed)
        self.steps = _checks.integer("steps", steps)
        self.evaluation_batch_size = _checks.integer("evaluation_batch_size", evaluation_batch_size)
        self.softmax = _checks.choice("softmax", softmax, language_model.SOFTMAXES)
        self.data_dir = _path("data_dir", data_dir)
        self._vocabulary, self._ids = None, {}
        self.input_shape = (self.steps,)

    @property
    def vocabulary(self):
        """The tokens of the training set by their number, the most frequent first."""
        self._read()
        return self._vocabulary

    @property
    def output_shape(self):
        """`(steps, vocabulary)` logits; `(steps,)` with the adaptive softmax."""
        return (self.steps,) if self.softmax == "adaptive" else (self.steps, len(self.vocabulary))

    @property
    def loss(self):
        return TokenCrossEntropy(self._outputs)

    @property
    def metrics(self):
        return [(BitsPerCharacter if self.characters else Perplexity)(self._outputs)]

    @property
    def _outputs(self):
        return "target_log_probability" if self.softmax == "adaptive" else "logits"

    @property
    def baseline(self):
        """The unigram model: the test set under the counts of the training set."""
        size = len(self.vocabulary)
        counts, seen = (np.bincount(self._ids[s], minlength=size) for s in ("train", "test"))
        used = seen > 0
        nats = -(seen[used] * np.log(counts[used] / counts.sum())).sum() / seen.sum()
        return self._scores(float(nats))

    @property
    def uniform(self):
        """What guessing every token alike scores."""
        return self._scores(math.log(len(self.vocabulary)))

    def _scores(self, nats):
        if self.characters:
            return {"loss": nats, "bits_per_character": nats / math.log(2)}
        return {"loss": nats, "perplexity": math.exp(nats)}

    def size(self, split):
        """The number of tokens of a split, each of which is a target once."""
        return len(self.tokens(split))

    def tokens(self, split):
        """The numbers of a split's tokens, in order, int32 `[N]`."""
        _checks.choice("split", split, SPLITS)
        self._read()
        return self._ids[split][: self._kept.get(split)]

    def keep(self, limit):
        """Keep only the first `limit` tokens of each split, for a quick look.

        The vocabulary and the baseline stay those of the whole text.
        """
        _checks.integer("limit", limit)
        for split in SPLITS:
            self._kept[split] = min(self.size(split), limit)
            self._held.pop(split, None)

    def arrays(self, split):
        """A whole split as NumPy arrays `(x, y, sample_weight)`, each `[rows, L]`."""
        parts = self._parts(_checks.choice("split", split, SPLITS))
        with tf.device("CPU:0"):
            batch = self._columns(parts, 0, self._length(parts))
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), batch)

    def build_model(self, layer, *, embedding_size=None, tied=False, dropout=0.0, cutoffs=None):
        """A `LanguageModel` for the task's vocabulary and softmax; see there for the arguments."""
        return language_model.LanguageModel(
            layer,
            len(self.vocabulary),
            embedding_size=embedding_size,
            tied=tied,
            dropout=dropout,
            softmax=self.softmax,
            cutoffs=cutoffs,
            name=self.name,
        )

    def _read(self):
        if self._vocabulary is not None:
            return
        splits = self._splits()
        vocabulary = _text.vocabulary(splits["train"])
        index = {token: number for number, token in enumerate(vocabulary)}
        for split, tokens in splits.items():
            self._ids[split] = _text.encode(tokens, index, f"the {split} set of {self.name}")
        self._vocabulary = vocabulary

    def _load(self, split):
        tokens = self.tokens(split)
        rows = self.batch_size if split == "train" else self.evaluation_batch_size
        if rows > len(tokens):
            name = "batch_size" if split == "train" else "evaluation_batch_size"
            raise ValueError(
                f"`{name}` must be at most the {len(tokens)} tokens of the {split} set. "
                f"Received: {name}={rows}"
            )
        length = math.ceil(len(tokens) / rows)
        first = self._vocabulary.index(self.start)
        padded = np.zeros(rows * length + 1, np.int32)
        padded[0], padded[1 : len(tokens) + 1] = first, tokens
        begins = np.arange(rows) * length
        stream = padded[begins[:, None] + np.arange(length + 1)]
        return stream, np.clip(len(tokens) - begins, 0, length).astype(np.int32)

    @staticmethod
    def _length(parts):
        return parts[0].shape[1] - 1

    def _batches(self, split):
        return math.ceil(self._length(self._parts(split)) / self.steps)

    def _plan(self, parts, seed, epoch):
        """Nothing: batches come in the order of the text, in no epoch in another."""
        return ()

    def _in_order(self, split):
        parts, batches = self._parts(split), self._batches(split)
        dataset = tf.data.Dataset.range(batches).map(
            lambda number: self._batch(parts, (), number), tf.data.AUTOTUNE, True
        )
        return self._finish(dataset.prefetch(tf.data.AUTOTUNE), batches)

    def _batch(self, parts, plan, batch):
        begin = tf.cast(batch, tf.int32) * self.steps
        return self._columns(parts, begin, tf.minimum(begin + self.steps, self._length(parts)))

    def _columns(self, parts, begin, end):
        stream, lengths = parts
        x, y = stream[:, begin:end], stream[:, begin + 1 : end + 1]
        weight = tf.cast(tf.range(begin, end)[None] < lengths[:, None], tf.float32)
        return ({"tokens": x, "targets": y} if self.softmax == "adaptive" else x), y, weight


def word_optimizer():
    """Stochastic gradient descent at 20, the gradient's global norm clipped to 0.25."""
    return keras.optimizers.SGD(20.0, global_clipnorm=0.25)
