"""A text of one file a split: one example a line."""

import tensorflow_datasets as tfds

from rnnzoo.tasks.originals import _data
from rnnzoo.tasks.originals.builders._originals import Originals


class Lines(Originals):
    """The lines of a text, each without its end, as `{"text": line}`.

    A subclass sets `FILES`: the file of each split.
    """

    FILES = {}

    def _features(self):
        return tfds.features.FeaturesDict({"text": tfds.features.Text()})

    def _split_generators(self, dl_manager):
        contents = self._contents(dl_manager, self.FILES.values())
        return {
            split: self._generate_examples(contents[file], file)
            for split, file in self.FILES.items()
        }

    def _generate_examples(self, content, file):
        for number, line in enumerate(_data.lines(content, file)):
            yield number, {"text": line}
