"""Penn Treebank, word by word."""

from rnnzoo.tasks import _text
from rnnzoo.tasks._stream import StreamTask, word_optimizer

FILES = {"train": "ptb.train.txt", "validation": "ptb.valid.txt", "test": "ptb.test.txt"}


def builder():
    """The builder for TensorFlow Datasets, imported where it is needed."""
    from rnnzoo.tasks.originals.builders.penn_treebank import PennTreebank

    return PennTreebank


class PTBWord(StreamTask):
    """The next word of the Penn Treebank in Mikolov's split, 10,000 words.

        x_t = word_{t-1},   y_t = word_t,   perplexity = exp(mean over all words of -ln p(y_t))

    The layout of the stream is that of `rnnzoo.tasks._stream.StreamTask`.

    Words as published, with `<unk>` and `N` in the text, and `<eos>` at the end of each line:
    929,589 training, 73,760 validation and 82,430 test tokens, of which 887,521, 70,390 and 78,669
    are words. The vocabulary is that of the training set.

    Args:
        steps: columns of a batch, at least 1 (default 700, twenty strides of 35).
        batch_size: rows of the training stream (default 20).
        evaluation_batch_size: rows of the validation and test streams (default 10); 1 scores each
            as one stream.
        softmax: "full" (default) or "adaptive", see `LanguageModel`.
        data_dir: a folder that holds the folder ``ptb``, or None (default): the folder that
            RNNZOO_DATA_DIR names, then ``~/.cache/rnnzoo``, then a download through TensorFlow
            Datasets.
        seed: see `Task`; the text has one order, whatever the seed.

    Shapes and dtypes: x, y `[B, steps]` int32, weights `[B, steps]` float32, logits
    `[B, steps, 10000]`. With the adaptive softmax x is `{"tokens": x, "targets": y}` and the model
    gives ln p(y) `[B, steps]`.

    Baseline: the unigram model of the training set on the test set, computed; `uniform` is that
    of guessing.

    Errors: `rnnzoo.tasks.DataError` at the first use of the data, if a file is missing, damaged,
    or not the original, or if the download fails.

    Source: Mikolov et al. (2010); batch, stride, optimizer as in the PyTorch word language model.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("ptb_word", steps=35).input_shape
    (35,)
    """

    name = "ptb_word"

    def __init__(
        self,
        *,
        steps=700,
        batch_size=20,
        evaluation_batch_size=10,
        softmax="full",
        data_dir=None,
        seed=0,
    ):
        super().__init__(steps, batch_size, evaluation_batch_size, softmax, data_dir, seed)

    def optimizer(self):
        """Stochastic gradient descent at 20, the gradient's global norm clipped to 0.25."""
        return word_optimizer()

    def _splits(self):
        contents = _text.originals("ptb", FILES, self.data_dir, builder)
        return {split: _text.words(text, FILES[split]) for split, text in contents.items()}
