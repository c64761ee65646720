"""WikiText-2, word by word."""

from rnnzoo.tasks import _text
from rnnzoo.tasks._stream import StreamTask, word_optimizer

FILES = {
    "train": "wiki.train.tokens",
    "validation": "wiki.valid.tokens",
    "test": "wiki.test.tokens",
}


def builder():
    """The builder for TensorFlow Datasets, imported where it is needed."""
    from rnnzoo.tasks.originals.builders.wikitext2 import Wikitext2

    return Wikitext2


class WikiText2(StreamTask):
    """The next word of WikiText-2, 33,278 words.

        x_t = word_{t-1},   y_t = word_t,   perplexity = exp(mean over all words of -ln p(y_t))

    Words as published, with `<unk>` in the text and `<eos>` at the end of each line, empty ones
    too: 2,088,628 training, 217,646 validation and 245,569 test tokens. The articles of the
    training set may stand in the published order or in that of the file known by its SHA-256;
    counts and vocabulary are the same.

    Args:
        steps, batch_size, evaluation_batch_size, data_dir, seed: as for `PTBWord`, with the folder
            ``wikitext-2``.
        softmax: "adaptive" (default), whose steps are several times as fast as those with "full"
            (`python -m benchmarks tbptt` measures it).

    Shapes and dtypes: as for `PTBWord`.

    Baseline, errors: as for `PTBWord`.

    Source: Merity et al. (2017); batch, stride, optimizer as in the PyTorch word language model.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("wikitext2").output_shape
    (700,)
    """

    name = "wikitext2"

    def __init__(
        self,
        *,
        steps=700,
        batch_size=20,
        evaluation_batch_size=10,
        softmax="adaptive",
        data_dir=None,
        seed=0,
    ):
        super().__init__(steps, batch_size, evaluation_batch_size, softmax, data_dir, seed)

    def optimizer(self):
        """Stochastic gradient descent at 20, the gradient's global norm clipped to 0.25."""
        return word_optimizer()

    def _splits(self):
        contents = _text.originals("wikitext-2", FILES, self.data_dir, builder)
        return {split: _text.words(text, FILES[split]) for split, text in contents.items()}
