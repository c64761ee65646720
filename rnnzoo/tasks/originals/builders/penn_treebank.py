"""Penn Treebank in Mikolov's word-level split, for `tfds.load("penn_treebank")`."""

from rnnzoo.tasks.originals.builders._lines import Lines


class PennTreebank(Lines):
    """One sentence an example, as published: a space before each word and one at the end.

    >>> import rnnzoo.tasks.originals.builders.penn_treebank
    >>> PennTreebank.FILES["train"]
    'ptb.train.txt'
    """

    SOURCE = "ptb"
    FILES = {
        "train": "ptb.train.txt",
        "validation": "ptb.valid.txt",
        "test": "ptb.test.txt",
    }
