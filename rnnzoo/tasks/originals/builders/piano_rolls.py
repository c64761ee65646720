"""JSB chorales and Nottingham as piano rolls, for `tfds.load("jsb_chorales")` and the like."""

import numpy as np
import tensorflow_datasets as tfds

from rnnzoo.tasks import _rolls
from rnnzoo.tasks.originals.builders._originals import Originals


class _PianoRolls(Originals):
    SOURCE = "poly_music"
    FILE = ""

    def _features(self):
        roll = tfds.features.Tensor(shape=(None, _rolls.KEYS), dtype=np.uint8)
        return tfds.features.FeaturesDict({"roll": roll})

    def _split_generators(self, dl_manager):
        pieces = _rolls.parse(self._contents(dl_manager, [self.FILE])[self.FILE], self.FILE)
        return {split: self._generate_examples(pieces[split]) for split in _rolls.VARIABLES}

    def _generate_examples(self, pieces):
        for number, roll in enumerate(pieces):
            yield number, {"roll": roll}


class JsbChorales(_PianoRolls):
    """One chorale an example: `{"roll": [T, 88]}` of 0 and 1, from MIDI note 21 on.

    >>> from rnnzoo.tasks.originals.builders.piano_rolls import JsbChorales
    >>> JsbChorales.FILE
    'JSB_Chorales.mat'
    """

    FILE = "JSB_Chorales.mat"


class NottinghamRolls(_PianoRolls):
    """One tune an example: `{"roll": [T, 88]}` of 0 and 1, from MIDI note 21 on.

    >>> from rnnzoo.tasks.originals.builders.piano_rolls import NottinghamRolls
    >>> NottinghamRolls.FILE
    'Nottingham.mat'
    """

    FILE = "Nottingham.mat"
