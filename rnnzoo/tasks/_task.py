"""What every task is: seeded batches whose order can be resumed, a loss, metrics and a head."""

import inspect
import math

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks, models

SPLITS = ("train", "validation", "test")


class Task:
    """Data and everything that is needed to train and score a recurrent model on it.

    The order of the training batches is a function of the seed and of `epoch` alone:

        order = shuffle(0 ... train_size - 1; seed, epoch)

    Each full pass over `train` raises `epoch` by one when its last batch is handed out, and a pass
    that is left before it does not count (Keras looks at one batch before it trains, which is a
    pass only where there is but one). Setting `epoch` to e therefore gives, from the next pass on,
    the order that an uninterrupted run has there.

    `model.fit(task.train, shuffle=False)` keeps Keras from warning that it does not shuffle. For it
    Keras makes two iterators an epoch, which counts where an epoch is a few small batches (`python
    -m benchmarks pipelines`); `fit(task.train.repeat(), steps_per_epoch=len(task.train))` keeps
    one.

    A subclass defines `name`, `input_shape`, `output_shape`, `loss`, `metrics`, `baseline`, the
    sizes of its splits, `_load` and `_decode`. The data of a split are made or read at first use
    and held once, in a compact form; batches are gathered and decoded whole.

    Args:
        batch_size: sequences in a batch, at least 1 (default 100). A split whose size is no
            multiple of it ends in a smaller batch; nothing is dropped.
        seed: an integer of at least 0 (default 0), for synthetic data and for the order.

    Attributes:
        name, input_shape, output_shape: without the batch; time first.
        loss: a new Keras loss at each reading.
        metrics: a list of new Keras metrics at each reading.
        baseline: what a model scores that has no memory, by names as in `model.evaluate`.
        optimum: the best possible score, where it is known; else an empty dict.
        monitor, monitor_mode: what `fit` reports of the score that chooses the best epoch.
        default_layer, default_units: what the published results use.
        train, validation, test: `tf.data.Dataset` of `(x [B, ...], y [B, ...])`.
        epoch: the shuffle position; may be set.
    """

    name = ""
    monitor = "val_loss"
    monitor_mode = "min"
    default_layer = "hdetach_lstm"
    default_units = 128
    per_step = False
    outputs = "outputs"
    optimum = {}
    stream = False  # whether the state has to be carried from batch to batch
    default_k1 = None

    def __init__(self, batch_size, seed):
        self.batch_size = _checks.integer("batch_size", batch_size)
        self.seed = _checks.integer("seed", seed, minimum=0)
        self._held, self._kept = {}, {}
        with tf.init_scope(), tf.device("CPU:0"):
            self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")

    @property
    def epoch(self):
        """The number of full passes over `train`, which is also the next pass's order."""
        return int(self._epoch.numpy())

    @epoch.setter
    def epoch(self, value):
        self._epoch.assign(_checks.integer("epoch", value, minimum=0))

    @property
    def train(self):
        """The training batches, in a new order at each full pass."""
        parts, batches = self._parts("train"), self._batches("train")
        seed = self._shuffle_seed()

        def begin(_):
            # No `map` in here: TensorFlow would make its function anew at the start of each epoch.
            epoch = self._epoch.read_value()
            plan = self._plan(parts, seed, epoch)
            shared = tf.data.Dataset.from_tensors((epoch, plan)).repeat()
            return tf.data.Dataset.zip((tf.data.Dataset.range(batches), shared))

        def make(batch, shared):
            epoch, plan = shared
            return batch, epoch, self._batch(parts, plan, batch)

        def hand_out(batch, epoch, pair):
            # This stands after the prefetching, where batches leave in step with the training, so
            # that a pass which is left early is never counted.
            last = tf.equal(batch, batches - 1)
            passed = tf.where(last, epoch + 1, self._epoch.read_value())
            with tf.control_dependencies([self._epoch.assign(passed, read_value=False)]):
                return tf.nest.map_structure(tf.identity, pair)

        dataset = tf.data.Dataset.range(1).flat_map(begin)
        dataset = dataset.map(make, tf.data.AUTOTUNE, True).prefetch(tf.data.AUTOTUNE)
        return self._finish(dataset.map(hand_out), batches)

    @property
    def validation(self):
        """The validation batches, always in the same order."""
        return self._in_order("validation")

    @property
    def test(self):
        """The test batches, always in the same order."""
        return self._in_order("test")

    def arrays(self, split):
        """A whole split as NumPy arrays `(x, y)`, in its stored order.

        Args:
            split: "train", "validation" or "test".
        """
        parts = self._parts(_checks.choice("split", split, SPLITS))
        with tf.device("CPU:0"):
            pair = self._take(parts, slice(None))
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), pair)

    def subset(self, split, limit):
        """The first `limit` sequences of a split, as batches."""
        self._check_limit(split, limit)
        batches = -(-limit // self.batch_size)
        data = getattr(self, split)
        data = data.unbatch().take(limit).batch(self.batch_size)
        return data.apply(tf.data.experimental.assert_cardinality(batches))

    def _check_limit(self, split, limit):
        size = self.size(split)
        if _checks.integer("limit", limit) > size:
            raise ValueError(
                f"`limit` must be at most the {size} sequences of the {split} set. "
                f"Received: limit={limit}"
            )

    def size(self, split):
        """The number of sequences of a split."""
        whole = getattr(self, f"{_checks.choice('split', split, SPLITS)}_size")
        return self._kept.get(split, whole)

    def keep(self, limit):
        """Keep only the first `limit` sequences of each split, for a quick look.

        The task's options stay what they are, and say nothing of it.
        """
        _checks.integer("limit", limit)
        for split in SPLITS:
            size = min(self.size(split), limit)
            with tf.device("CPU:0"):
                self._held[split] = self._first(self._parts(split), size)
            self._kept[split] = size

    def optimizer(self):
        """The published optimizer: Adam at 1e-3, the gradient's global norm clipped to 1."""
        return keras.optimizers.Adam(1e-3, global_clipnorm=1.0)

    def build_model(self, layer):
        """A Functional model: the recurrent layer, or a stack of them, and the task's head.

        The layer given is the one in the model. Its `return_sequences` is set to what the task
        (and its place in the stack) needs, unless it has been built with another setting. The
        input has the shape `[None, F]`, so that other lengths work too. The head is a Dense layer
        with logits (or the number itself), weights and bias uniform in +-1/sqrt(width) as in the
        published code, in float32 under mixed precision.

        Args:
            layer: a Keras recurrent layer, one of ours, a `Bidirectional` or `TruncatedWrapper`
                around one, or a list of these to stack.

        Raises:
            TypeError: where it is not a recurrent layer.
            ValueError: for an empty list, for a layer with `return_state=True` or
                `merge_mode=None`, and for one built with another `return_sequences`.
        """
        return models.stack(
            layer,
            features=self.input_shape[-1],
            outputs=self.output_shape[-1],
            pooling=None if self.per_step else "last",
            head=self.outputs,
            name=self.name,
        )

    def get_config(self):
        """The name and every option: `tasks.get(**task.get_config())` is the same task."""
        options = inspect.signature(type(self).__init__).parameters
        return {"name": self.name, **{o: getattr(self, o) for o in options if o != "self"}}

    def __repr__(self):
        options = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"rnnzoo.tasks.get({options})"

    def _load(self, split):
        """The split in compact form: a tuple of arrays with one row a sequence."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `_load`.")

    def _decode(self, *parts):
        """Rows of the compact form as `(x, y)`, in TensorFlow operations on whole batches."""
        raise TypeError(f"{type(self).__name__} is abstract: it defines no `_decode`.")

    def _generator(self, split):
        """A random generator of the split's own: the streams of two splits never meet."""
        return np.random.default_rng(
            np.random.SeedSequence(self.seed, spawn_key=(SPLITS.index(split),))
        )

    def _shuffle_seed(self):
        return np.random.SeedSequence(self.seed).generate_state(1, np.uint64).astype(np.int64)[0]

    def _plan(self, parts, seed, epoch):
        """What all training batches of an epoch share: tensors; here the order of the rows."""
        del parts
        rows = tf.range(self.size("train"))
        seeds = tf.stack([tf.constant(seed), epoch])
        return (tf.random.experimental.stateless_shuffle(rows, seed=seeds),)

    def _batch(self, parts, plan, batch):
        """The training batch of this number, under the plan of its epoch."""
        rows = plan[0][batch * self.batch_size : (batch + 1) * self.batch_size]
        return self._take(parts, rows)

    def _take(self, parts, rows):
        """The batch of these rows (a slice, or a tensor of their numbers) of a split's parts."""
        if isinstance(rows, slice):
            return self._decode(*(part[rows] for part in parts))
        return self._decode(*(tf.gather(part, rows) for part in parts))

    def _parts(self, split):
        if split not in self._held:
            arrays = self._load(split)
            with tf.init_scope(), tf.device("CPU:0"):
                self._held[split] = tuple(tf.constant(array) for array in arrays)
        return self._held[split]

    def _first(self, parts, size):
        """Of a split's parts those of `size` sequences."""
        return tuple(part[:size] for part in parts)

    def _batches(self, split):
        return math.ceil(self.size(split) / self.batch_size)

    def _in_order(self, split):
        parts, batches = self._parts(split), self._batches(split)

        def take(batch):
            rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            return self._take(parts, rows)

        dataset = tf.data.Dataset.range(batches).map(take, tf.data.AUTOTUNE, True)
        return self._finish(dataset.prefetch(tf.data.AUTOTUNE), batches)

    @staticmethod
    def _finish(dataset, batches):
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
        return dataset.with_options(options)
