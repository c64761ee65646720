"""WikiText-2, for `tfds.load("wikitext2")`."""

from rnnzoo.tasks.originals.builders._lines import Lines


class Wikitext2(Lines):
    """One line an example, as published: paragraphs, titles between equals signs, empty lines.

    >>> import rnnzoo.tasks.originals.builders.wikitext2
    >>> Wikitext2.FILES["train"]
    'wiki.train.tokens'
    """

    SOURCE = "wikitext-2"
    FILES = {
        "train": "wiki.train.tokens",
        "validation": "wiki.valid.tokens",
        "test": "wiki.test.tokens",
    }
