"""Polyphonic music: which of 88 keys sound in the next frame."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import models
from rnnzoo.metrics import FrameLoss, FrameNLL
from rnnzoo.tasks import _rolls
from rnnzoo.tasks._bucketed import BucketedTask
from rnnzoo.tasks.smnist import _path

PADDING = -1.0


class _PolyphonicMusic(BucketedTask):
    r"""Next-frame prediction on piano rolls; see `JSBChorales` and `Nottingham`."""

    monitor = "val_nll"
    default_layer = "lstm"
    default_units = 200
    per_step = True
    outputs = "logits"
    input_shape = output_shape = (None, _rolls.KEYS)

    def __init__(self, *, data_dir=None, batch_size=8, seed=0):
        super().__init__(batch_size, seed)
        self.data_dir = _path("data_dir", data_dir)
        self._loaded = None

    @property
    def loss(self):
        return FrameLoss()

    @property
    def metrics(self):
        return [FrameNLL()]

    @property
    def baseline(self):
        nll = self._marginal_nll()
        return {"loss": nll, "nll": nll}

    def pieces(self, split):
        """The rolls `[T, 88]` (uint8) of a split, in the order of the original file."""
        self.size(split)
        if self._loaded is None:
            self._loaded = _rolls.load(self.file, self._builder, self.data_dir)
        return self._loaded[split]

    def optimizer(self):
        """Adam at 2e-3, the gradient's global norm clipped to 1; the published rates differ."""
        return keras.optimizers.Adam(2e-3, global_clipnorm=1.0)

    def build_model(self, layer):
        """As `Task.build_model`, with a `Masking` of the padded frames below the layers."""
        masking = keras.layers.Masking(PADDING)
        return models.stack(
            layer, _rolls.KEYS, _rolls.KEYS, None, masking, head=self.outputs, name=self.name
        )

    def _marginal_nll(self):
        targets = np.concatenate([roll[1:] for roll in self.pieces("train")])
        # One frame more with every key on and one with every key off: a key that is never heard in
        # training and once in the test set must not cost infinity.
        p = (targets.sum(axis=0) + 1.0) / (len(targets) + 2.0)
        heard = np.concatenate([roll[1:] for roll in self.pieces("test")])
        costs = heard * -np.log(p) + (1.0 - heard) * -np.log1p(-p)
        return float(costs.sum(axis=1).mean())

    def _sequences(self, split):
        rolls = self.pieces(split)
        now = np.concatenate([roll[:-1] for roll in rolls])
        after = np.concatenate([roll[1:] for roll in rolls])
        return (now, after), [len(roll) - 1 for roll in rolls], ()

    def _decode_padded(self, real, now, after):
        return tuple(
            tf.where(real[..., None], tf.cast(part, tf.float32), PADDING) for part in (now, after)
        )


class JSBChorales(_PolyphonicMusic):
    r"""JSB chorales: 382 chorales of Bach as piano rolls; predict the next frame.

        x_t = roll_t,   y_t = roll_{t+1},   t = 1 ... T-1,   roll_t in {0, 1}^88

    The keys are those of a piano, from MIDI note 21 on. The published split has 229, 76 and 77
    pieces of 25 to 160 frames. Pieces of similar length share a batch, padded at the end with -1
    (a frame of zeros is silence, and real); see `rnnzoo.tasks._bucketed`. `build_model` masks the
    padding, and loss and metric leave it out.

    The score is the metric `nll`: nats a frame, summed over the 88 keys, averaged over all frames
    of the split together, as the published code evaluates. The `loss` that Keras shows is averaged
    over the frames of a batch and then over sequences, and differs a little. `to_midi` in
    `rnnzoo.tasks.midi` makes a roll a file to listen to.

    Args:
        data_dir: a folder that holds the folder ``poly_music``, or None (default): the folder that
            RNNZOO_DATA_DIR names, then ``~/.cache/rnnzoo``, then a download through TensorFlow
            Datasets.
        batch_size: see `Task` (default 8).
        seed: see `Task`.

    Shapes and dtypes: x and y `[B, T, 88]` float32 of 0 and 1, and -1 in the padding; predictions
    `[B, T, 88]` logits.

    Baseline: every key with its frequency in the training set, scored on the test set.

    Errors: `rnnzoo.tasks.DataError` (a `ValueError`) at the first use of the data, if the file is
    missing, damaged, or not the original, or if the download fails.

    Source: Boulanger-Lewandowski, Bengio & Vincent (2012); file and evaluation as in Bai, Kolter &
    Koltun (arXiv:1803.01271) and its code.

    >>> import rnnzoo.tasks
    >>> task = rnnzoo.tasks.get("jsb")
    >>> task.input_shape, [task.size(s) for s in ("train", "validation", "test")]
    ((None, 88), [229, 76, 77])
    """

    name = "jsb"
    file = "JSB_Chorales.mat"
    train_size, validation_size, test_size = 229, 76, 77

    @staticmethod
    def _builder():
        from rnnzoo.tasks.originals.builders.piano_rolls import JsbChorales

        return JsbChorales


class Nottingham(_PolyphonicMusic):
    """Nottingham: 1,037 folk tunes with chords as piano rolls; predict the next frame.

    As `JSBChorales`, with 694, 173 and 170 pieces of 40 to 1,793 frames.

    Args, shapes, dtypes, baseline, errors and source: see `JSBChorales`.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("nottingham").size("test")
    170
    """

    name = "nottingham"
    file = "Nottingham.mat"
    train_size, validation_size, test_size = 694, 173, 170

    @staticmethod
    def _builder():
        from rnnzoo.tasks.originals.builders.piano_rolls import NottinghamRolls

        return NottinghamRolls
