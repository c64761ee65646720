"""Learning rates that change during a training, as functions of where it stands and its curve."""

import inspect
import math

import keras

from rnnzoo import _checks

SCHEDULES = ("constant", "cosine", "plateau", "inverse")


class Schedule(keras.callbacks.Callback):
    """Sets the optimizer's learning rate, and writes it into the curve as `learning_rate`.

    The rate is a function of the configuration, the epoch, the batch and the curve of the epochs
    before. Nothing is remembered beside these, so that `fit_resumable`, which hands over the curve,
    resumes exactly. A subclass defines `at_epoch` or `at_batch`, and `name`.

    Args:
        learning_rate: the highest rate, a positive number.
    """

    name = ""

    def __init__(self, learning_rate):
        super().__init__()
        self.learning_rate = _checks.real("learning_rate", learning_rate, 0.0, low_open=True)
        self.curve = {}

    def at_epoch(self, curve):
        """The rate with which an epoch begins, after epochs with that curve."""
        del curve
        return self.learning_rate

    def attach(self, optimizer):
        """Prepare an optimizer, before its model is compiled."""

    def settings(self):
        """What the schedule is to be known by: its name and every option."""
        options = inspect.signature(type(self).__init__).parameters
        return {"name": self.name, **{o: getattr(self, o) for o in options if o != "self"}}

    def on_epoch_begin(self, epoch, logs=None):
        self._set(self.at_epoch(self.curve))

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self._variable()))

    def _variable(self):
        return self.model.optimizer.learning_rate

    def _set(self, rate):
        self.model.optimizer.learning_rate = rate


class Cosine(Schedule):
    r"""A warm-up, then half a cosine down to `final`, batch by batch.

    $$\eta(s) = \eta_f + (\eta - \eta_f)\begin{cases} s / w & s < w\\
      \tfrac12 + \tfrac12\cos\big(\pi (s - w) / (1 - w)\big) & \text{else}\end{cases},\qquad
      s = \frac{\text{batches so far}}{\texttt{epochs} \times \text{batches of an epoch}}$$

    A batch of a text that is walked by truncated BPTT has one rate for all its strides.

    Args:
        learning_rate: $\eta$, a positive number.
        epochs, batches: the epochs of the whole training, and the batches of one, at least 1. The
            training must not be longer; to make it longer is another schedule.
        warmup: the share $w$ of the training, in [0, 1) (default 0).
        final: $\eta_f$, in [0, `learning_rate`] (default 1e-7, as in the LRU's published code).

    >>> from rnnzoo.training.schedules import Cosine
    >>> schedule = Cosine(1.0, epochs=2, batches=5, final=0.0)
    >>> [round(schedule.at_batch(epoch, 0), 6) for epoch in (0, 1)]
    [1.0, 0.5]
    """

    name = "cosine"

    def __init__(self, learning_rate, epochs, batches, warmup=0.0, final=1e-7):
        super().__init__(learning_rate)
        self.epochs = _checks.integer("epochs", epochs)
        self.batches = _checks.integer("batches", batches)
        self.warmup = _checks.real("warmup", warmup, 0.0, 1.0, high_open=True)
        self.final = _checks.real("final", final, 0.0, self.learning_rate)
        self.epoch = 0

    def at_batch(self, epoch, batch):
        """The rate of a batch of an epoch, both counted from 0."""
        passed = (epoch * self.batches + batch) / (self.epochs * self.batches)
        if passed < self.warmup:
            share = passed / self.warmup
        else:
            share = 0.5 + 0.5 * math.cos(math.pi * (passed - self.warmup) / (1.0 - self.warmup))
        return self.final + (self.learning_rate - self.final) * share

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._set(self.at_batch(self.epoch, batch))


class Plateau(Schedule):
    r"""The rate divided by `factor` after every epoch whose validation loss was not the best yet.

    $$\eta_e = \eta / f^{\,n},\qquad n = \#\{j < e : v_j \ge \min_{i < j} v_i\}$$

    with $v$ the validation losses. The weights go on from where they are, not from the best epoch.

    Args:
        learning_rate: $\eta$, a positive number.
        factor: $f$, above 1 (default 4).

    Source: the word language model of the PyTorch examples, as in Miller's fork.

    >>> from rnnzoo.training.schedules import Plateau
    >>> Plateau(20.0).at_epoch({"val_loss": [6.0, 5.0, 5.5, 4.9, 4.9]})
    1.25
    """

    name = "plateau"

    def __init__(self, learning_rate, factor=4.0):
        super().__init__(learning_rate)
        self.factor = _checks.real("factor", factor, 1.0, low_open=True)

    def at_epoch(self, curve):
        losses = curve.get("val_loss", [])
        stalls = sum(loss >= min(losses[:j]) for j, loss in enumerate(losses) if j)
        return self.learning_rate / self.factor**stalls


@keras.saving.register_keras_serializable(package="rnnzoo")
class InverseTime(keras.optimizers.schedules.LearningRateSchedule):
    r"""The rate $\alpha_t = \alpha / t$ of optimizer step $t = 1, 2, \dots$

    Plain SGD with this rate on a model whose weights are projected is the method of Proposition 2
    of *Stable Recurrent Models*: $w_{t+1} = \Pi(w_t - \frac{\alpha}{t} \nabla p(w_t))$. The
    optimizer counts the steps, so a strided batch of truncated BPTT has as many rates as strides.
    With `gradient_accumulation_steps` Keras counts each batch as a step.

    Args:
        learning_rate: $\alpha$, a positive number.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), Proposition 2.

    >>> import keras, numpy as np
    >>> from rnnzoo.layers import StableRNN
    >>> from rnnzoo.training.schedules import InverseTime
    >>> model = keras.Sequential([keras.Input([None, 2]), StableRNN(3, contraction=0.75)])
    >>> model.compile(keras.optimizers.SGD(InverseTime(0.5)), "mse")
    >>> _ = model.fit(np.ones([6, 5, 2]), np.ones([6, 3]), batch_size=2, verbose=0)
    >>> round(float(model.optimizer.learning_rate), 4), model.layers[0].contraction() <= 0.75
    (0.125, True)
    """

    def __init__(self, learning_rate):
        self.learning_rate = _checks.real("learning_rate", learning_rate, 0.0, low_open=True)

    def __call__(self, step):
        step = keras.ops.cast(step, keras.config.floatx())
        return self.learning_rate / (step + 1.0)

    def get_config(self):
        return {"learning_rate": self.learning_rate}


class Inverse(Schedule):
    """`InverseTime` as a schedule of `rnnzoo train`; the curve shows each epoch's last rate.

    Args:
        learning_rate: the rate of the first optimizer step, a positive number.
    """

    name = "inverse"

    def attach(self, optimizer):
        optimizer.learning_rate = InverseTime(self.learning_rate)

    def on_epoch_begin(self, epoch, logs=None):
        """Nothing to set: the optimizer counts its steps."""

    def on_epoch_end(self, epoch, logs=None):
        steps = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        logs["learning_rate"] = self.learning_rate / max(steps, 1)


def make(name, learning_rate, epochs, batches, options=None):
    """A schedule by its name, or None for "constant".

    Args:
        name: one of `SCHEDULES`.
        learning_rate, epochs, batches: see `Cosine`.
        options: dict of the schedule's own options.
    """
    _checks.choice("schedule", name, SCHEDULES)
    given = {
        "constant": {},
        "cosine": {"learning_rate": learning_rate, "epochs": epochs, "batches": batches},
        "plateau": {"learning_rate": learning_rate},
        "inverse": {"learning_rate": learning_rate},
    }[name]
    kind = {"constant": None, "cosine": Cosine, "plateau": Plateau, "inverse": Inverse}[name]
    own = inspect.signature(kind.__init__).parameters if kind else ()
    known = [option for option in own if option not in ("self", *given)]
    for option, value in (options or {}).items():
        if option not in known:
            raise ValueError(
                f"`{option}` must be an option of the schedule {name}: one of "
                f"{', '.join(known) or '(it has none)'}. Received: {option}={value!r}"
            )
    return kind(**given, **(options or {})) if kind else None
