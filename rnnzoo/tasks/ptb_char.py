"""Penn Treebank, character by character."""

import keras

from rnnzoo.tasks import _text
from rnnzoo.tasks._stream import StreamTask
from rnnzoo.tasks.ptb_word import FILES, builder


class PTBChar(StreamTask):
    """The next character of the Penn Treebank in Mikolov's split, 50 characters.

        x_t = character_{t-1},   y_t = character_t,
        bits per character = mean over all characters of -log2 p(y_t)

    Derived from the word files: each line without its first space, the other spaces as `_`, and
    `<eos>` at its end. That makes 5,059,550 training, 396,412 validation and 446,184 test
    characters; the published counts are 5,059k, 396k and 446k (recalled, not confirmed).

    Args:
        steps: columns of a batch, at least 1 (default 1000, ten strides of 100).
        batch_size: rows of the training stream (default 32).
        evaluation_batch_size, data_dir, seed: as for `PTBWord`.

    Shapes and dtypes: x, y `[B, steps]` int32, weights `[B, steps]` float32, logits
    `[B, steps, 50]`.

    Baseline, errors: as for `PTBWord`. The score is in bits per character.

    Source: Mikolov et al. (2010). The optimizer is chosen here, not published.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("ptb_char").steps
    1000
    """

    name = "ptb_char"
    monitor = "val_bits_per_character"
    characters = True
    default_k1 = 100

    def __init__(
        self, *, steps=1000, batch_size=32, evaluation_batch_size=10, data_dir=None, seed=0
    ):
        super().__init__(steps, batch_size, evaluation_batch_size, "full", data_dir, seed)

    def optimizer(self):
        """Adam at 2e-3, the gradient's global norm clipped to 1."""
        return keras.optimizers.Adam(2e-3, global_clipnorm=1.0)

    def _splits(self):
        contents = _text.originals("ptb", FILES, self.data_dir, builder)
        return {split: _text.spelled_words(text, FILES[split]) for split, text in contents.items()}
