"""Shakespeare's plays, character by character."""

from rnnzoo.tasks import _text
from rnnzoo.tasks.originals import _data
from rnnzoo.tasks.ptb_char import PTBChar


class TinyShakespeare(PTBChar):
    """The next character of 1,115,394 of Shakespeare's, 65 different ones.

        x_t = character_{t-1},   y_t = character_t,
        bits per character = mean over all characters of -log2 p(y_t)

    The first 90% of the text train, the next 5% validate, and the last 5% test.

    Args:
        steps, batch_size, evaluation_batch_size, data_dir, seed: as for `PTBChar`, with the folder
            ``tiny_shakespeare``; there is no builder for TensorFlow Datasets.

    Shapes, baseline, errors: as for `PTBChar`, with 65 logits.

    Source: the char-rnn repository; the split is chosen here.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("tiny_shakespeare").monitor
    'val_bits_per_character'
    """

    name = "tiny_shakespeare"
    start = "\n"

    def _splits(self):
        content = _text.originals("tiny_shakespeare", {"all": "input.txt"}, self.data_dir, None)
        lines = _data.lines(content["all"], "input.txt")
        text = "".join(f"{line}\n" for line in lines)
        first, second = len(text) * 90 // 100, len(text) * 95 // 100
        return {"train": text[:first], "validation": text[first:second], "test": text[second:]}
