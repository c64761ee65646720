"""ATIS with slots and intents, for `tfds.load("atis")`."""

import tensorflow_datasets as tfds

from rnnzoo.tasks import _iob
from rnnzoo.tasks.originals.builders._originals import Originals


class Atis(Originals):
    """One utterance an example: its words, as many tags, and the intent.

    >>> from rnnzoo.tasks.originals.builders.atis import Atis
    >>> sorted(Atis.FILES)
    ['test', 'train', 'validation']
    """

    SOURCE = "atis"
    FILES = _iob.FILES

    def _features(self):
        text = tfds.features.Text
        return tfds.features.FeaturesDict(
            {
                "words": tfds.features.Sequence(text()),
                "tags": tfds.features.Sequence(text()),
                "intent": text(),
            }
        )

    def _split_generators(self, dl_manager):
        contents = self._contents(dl_manager, self.FILES.values())
        return {
            split: self._generate_examples(contents[file], file)
            for split, file in self.FILES.items()
        }

    def _generate_examples(self, content, file):
        for number, utterance in enumerate(_iob.parse(content, file)):
            yield (
                number,
                {
                    "words": list(utterance.words),
                    "tags": list(utterance.tags),
                    "intent": utterance.intent,
                },
            )
