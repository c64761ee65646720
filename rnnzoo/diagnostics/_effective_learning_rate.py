"""The step that Adam takes for each weight, per unit of gradient."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rnnzoo import _checks, _keras
from rnnzoo._figures import new_figure


def effective_learning_rate(
    optimizer: keras.optimizers.Optimizer, gradient: str = "moment"
) -> dict[str, np.ndarray]:
    r"""The step of Adam for each single weight, relative to a gradient.

    $$\eta_j = \frac{\alpha\sqrt{1-\beta_2^t}}{\sqrt{v_j}+\epsilon}$$

    what the last step was, per unit of the mean gradient $\hat m=m/(1-\beta_1^t)$. With
    `gradient="ones"` instead, the whole of the next step, were its gradient 1 everywhere, as
    published:

    $$\eta_j = \frac{\alpha\sqrt{1-\beta_2^{t+1}}\,m'_j}{(1-\beta_1^{t+1})(\sqrt{v'_j}+\epsilon)}
    \qquad m'=\beta_1 m+1-\beta_1 \qquad v'=\beta_2 v+1-\beta_2$$

    This one holds what is left of earlier gradients, and may be negative. Weight decay is no part
    of it.

    Args:
        optimizer: A built `keras.optimizers.Adam` or `AdamW` without `amsgrad`.
        gradient: `"moment"` (default), after at least one step, or `"ones"`.

    Returns:
        A dict from the path of each weight to float64 of its shape. Nothing is changed.

    Raises:
        ValueError, TypeError: For another optimizer, one that has no state yet, or another
            `gradient`.

    Source: Zucchet & Orvieto (2024), the effective learning rates of the ablation.

    Example:

    >>> import keras, numpy as np
    >>> weight = keras.Variable([1.0, 1.0], name="w")
    >>> adam = keras.optimizers.Adam(0.1, epsilon=1e-9)
    >>> adam.apply([keras.ops.array([10.0, 0.5])], [weight])
    >>> effective_learning_rate(adam)["w"].round(4).tolist()  # times 10 and 0.5: 0.1, both
    [0.01, 0.2]
    """
    _checks.choice("gradient", gradient, ("moment", "ones"))
    _check_adam(optimizer)
    steps = int(optimizer.iterations) + (gradient == "ones")
    if not steps or not optimizer.built:
        raise ValueError(
            "`optimizer` must have taken a step, or be built for gradient='ones'. "
            f"Received: one that is {'' if optimizer.built else 'not '}built, after 0 steps"
        )
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    rate = float(optimizer.learning_rate) * np.sqrt(1.0 - beta_2**steps) / (1.0 - beta_1**steps)
    found = {}
    for weight, m, v in _keras.adam_moments(optimizer):
        m, v = (np.asarray(keras.ops.convert_to_numpy(a), np.float64) for a in (m, v))
        if gradient == "ones":
            m, v = beta_1 * m + 1.0 - beta_1, beta_2 * v + 1.0 - beta_2
        else:
            m = 1.0 - beta_1**steps
        found[weight.path] = rate * m / (np.sqrt(v) + optimizer.epsilon)
    return found


def _check_adam(optimizer):
    kinds = (keras.optimizers.Adam, keras.optimizers.AdamW)
    if type(optimizer) not in kinds or optimizer.amsgrad:
        raise TypeError(
            "`optimizer` must be a keras.optimizers.Adam or AdamW without amsgrad. "
            f"Received: optimizer={optimizer!r}"
        )


class EffectiveLearningRate(keras.callbacks.Callback):
    """Record `effective_learning_rate` of the model's optimizer while it is trained.

    Args:
        every: Positive integer (default 1): at the end of every so many epochs.
        gradient: As in `effective_learning_rate`.

    Attributes:
        epochs: The epochs recorded, counted from 1.
        rates: A list, for each of them a dict from a weight's path to float64 of its shape.

    Raises:
        ValueError, TypeError: For arguments out of range; at the start of training for an
            optimizer other than Adam and AdamW.

    Source: Zucchet & Orvieto (2024), the effective learning rates of the ablation.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((None, 1)), keras.layers.SimpleRNN(1)])
    >>> model.compile("adam", "mse")
    >>> record = EffectiveLearningRate()
    >>> x, y = np.ones([2, 3, 1], "float32"), np.ones([2, 1], "float32")
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[record])
    >>> record.epochs, len(record.rates[0])
    ([1, 2], 3)
    """

    def __init__(self, every: int = 1, gradient: str = "moment"):
        super().__init__()
        self.every = _checks.integer("every", every)
        self.gradient = _checks.choice("gradient", gradient, ("moment", "ones"))
        self.epochs, self.rates = [], []

    def on_train_begin(self, logs=None):
        _check_adam(self.model.optimizer)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            self.epochs.append(epoch + 1)
            self.rates.append(effective_learning_rate(self.model.optimizer, self.gradient))

    def plot(self, axes: Any = None, **options: Any) -> Any:
        """Each weight's median and quartiles by epoch, on `axes` or in a new figure."""
        if not self.epochs:
            raise ValueError("A plot needs a recorded epoch. Received: no training so far")
        if axes is None:
            axes = new_figure(4.5, 3.4).subplots()
        for path in self.rates[0]:
            parts = [np.quantile(np.abs(r[path]), [0.25, 0.5, 0.75]) for r in self.rates]
            low, middle, high = np.transpose(parts)
            (line,) = axes.plot(self.epochs, middle, label=path, **options)
            axes.fill_between(self.epochs, low, high, color=line.get_color(), alpha=0.2)
        axes.set(xlabel="epoch", ylabel="effective learning rate", yscale="log")
        axes.legend(fontsize="small")
        return axes.figure
