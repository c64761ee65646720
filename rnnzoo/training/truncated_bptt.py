"""TruncatedBPTT: the training step that walks a long sequence in strides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from rnnzoo import _checks, _keras
from rnnzoo.streaming import explicit_state
from rnnzoo.training import _replicas
from rnnzoo.training._carried import CarriedState, ResetEachEpoch
from rnnzoo.training._evaluation import CarriedEvaluation
from rnnzoo.training._steps import stop_on, with_plain_errors
from rnnzoo.training._update import WindowUpdate
from rnnzoo.training._walk import Walk
from rnnzoo.training._windows import Windows


@keras.saving.register_keras_serializable(package="rnnzoo")
class TruncatedBPTT(keras.Model):
    r"""Train a recurrent model by truncated back-propagation through time.

    A batch `[B, T, ...]` is walked in strides of `k1` steps; each stride is one optimizer step

    $$w \leftarrow \mathrm{opt}\big(w, \nabla_w\, \ell(y_{b:e}, \hat y_{b:e})\big),\qquad
      \hat y_{b:e} = M_w(x_{a:e}, \mathrm{stop}(s_a)),\quad a = \max(0, b - (k_2 - k_1))$$

    on its newest steps `[b, e)`. For `k2 = k1` the window is the stride. For `k2 > k1` it begins at
    the state that the window before computed there (so with the weights of one step earlier) and is
    recomputed with today's. The state is carried with its gradient cut, in one graph with a loop,
    so that memory does not grow with `T`. The last stride is shorter where `k1` does not divide
    `T`; with `k1 >= T` a batch is one update, and equals Keras's own.

    Args:
        model: A Functional or built Sequential model (see `rnnzoo.explicit_state`, which says what
            it may hold). It stays usable by itself, with the same weights.
        k1: Steps between updates, at least 1.
        k2: Steps that the gradient reaches back, at least `k1`; None: `k1`.
        stateful: True carries the state from batch to batch, until `reset_state()` or the epoch's
            begin or end. A window does not reach back into the batch before. `evaluate` (and the
            validation of `fit`) then carries a state of its own through its batches.
        time_local: As in `explicit_state`.

    Targets and sample weights: where the model's outputs run over time, `y [B, T, ...]` and weights
    `[B]` or `[B, T]`; where they do not (`return_sequences=False`), `y [B, ...]`: then the steps up
    to `T - k2` are run forward only, and one optimizer step is taken on the last `k2`. A stride
    whose weights are all zero, or that is masked altogether, takes no optimizer step. Loss and
    metrics are averaged over a batch's time steps, not its strides. `evaluate` and `predict` begin
    at zero state and leave the one carried in training alone; `predict` begins each batch so, and
    so does `evaluate` unless `stateful`.

    Masks are those that the model makes (Masking, Embedding). If model and trainer are made in the
    scope of a `tf.distribute` strategy, steps are those of one device with the whole batch.

    Penalties (regularizers, `add_loss`) are those of the window that is trained. They are added to
    the loss there: `losses` is empty, and a `compute_loss` of a subclass gives the loss of the data
    alone.

    Raises:
        ValueError: For a model that `explicit_state` refuses, that has `stateful` layers, or
            outputs of both kinds; for `k2 < k1`; for targets or weights without the time axis of
            the outputs; for `jit_compile=True`; while training, for a stateful batch of another
            size than the one before.
        FloatingPointError: While training, for a loss that is not finite; it names the step, and
            the weights are those before it.

    Sources: Williams & Peng, *An Efficient Gradient-Based Algorithm for On-Line Training of
    Recurrent Network Trajectories* (1990); Miller & Hardt, *Stable Recurrent Models* (2019).

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential(
    ...     [keras.Input((None, 2)), keras.layers.GRU(3, return_sequences=True)])
    >>> trainer = TruncatedBPTT(model, k1=5)
    >>> trainer.compile("sgd", "mse")
    >>> _ = trainer.fit(np.ones([4, 20, 2]), np.zeros([4, 20, 3]), verbose=0)
    >>> int(trainer.optimizer.iterations)
    4
    """

    def __init__(
        self,
        model: keras.Model,
        k1: int,
        k2: int | None = None,
        stateful: bool = False,
        time_local: Sequence[str | type] = (),
        **kwargs: Any,
    ):
        k1 = _checks.integer("k1", k1)
        k2 = k1 if k2 is None else _checks.integer("k2", k2)
        if k2 < k1:
            raise ValueError(f"`k2` must be at least `k1`={k1}. Received: k2={k2}")
        super().__init__(**kwargs)
        self.k1, self.k2 = k1, k2
        self.stateful = _checks.boolean("stateful", stateful)
        self._explicit = explicit = explicit_state(model, time_local)
        self._check_model()
        self.model = model
        self._windows = Windows(explicit, k1, k2)
        self._replicas = _replicas.of(self)
        self._carried = CarriedState(explicit.state_spec)
        learn = WindowUpdate(self, explicit, self._replicas)
        self._walk = Walk(self._windows, learn, self._replicas)
        evaluated = CarriedState(explicit.state_spec) if stateful else None
        self._evaluation = CarriedEvaluation(self, explicit, self._replicas, evaluated)
        self.built = True

    def _check_model(self):
        kept = [layer.name for layer in self._explicit.recurrent_layers if layer.stateful]
        if kept:
            raise ValueError(
                "`model` must have no stateful layers: the state is carried here "
                f"(TruncatedBPTT(..., stateful=True)). Received: stateful layers {kept}"
            )
        kinds = dict(zip(self._explicit.output_names, self._explicit.output_has_time))
        if len(set(kinds.values())) > 1:
            raise ValueError(
                "`model` must have outputs that all run over time, or none that does. "
                f"Received: outputs (over time or not) {kinds}"
            )

    def call(self, inputs, training=None):
        return self.model(inputs, training=training)

    def build(self, input_shape=None):
        """Nothing to do: the wrapped model is built."""

    def compile(self, *args, jit_compile="auto", **kwargs):
        if jit_compile is True:
            raise ValueError(
                "`jit_compile` must be False or 'auto': the walk over strides is not compiled. "
                "Received: jit_compile=True"
            )
        super().compile(*args, jit_compile=False, **kwargs)

    def compile_from_config(self, config):
        """Compile again after loading, which Keras leaves to classes with an own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @property
    def losses(self):
        """None: penalties are added where a window is trained, or a batch evaluated."""
        return []

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss of the data, without penalties; 0 for a model that is compiled without one."""
        if self.loss is None:
            return tf.constant(0.0)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        *args,
        **kwargs,
    ):
        """As `keras.Model.fit`, with its arguments; every epoch begins and ends without state."""
        own = ResetEachEpoch(self)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.callbacks.append(own)
        else:
            callbacks = [*([] if callbacks is None else keras.tree.flatten(callbacks)), own]
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, *args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`, from zero state on."""
        self._evaluation.reset()
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._evaluation.reset()

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            if _keras.strategy_of(self) is None:
                super().make_train_function(force)
            else:
                self.train_function = _replicas.make_function(self, self.train_step)
            self.train_function = with_plain_errors(self.train_function)
        return self.train_function

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            if _keras.strategy_of(self) is None:
                super().make_test_function(force)
            else:
                step = partial(self._replicas.run, self.test_step)
                self.test_function = _replicas.make_function(self, step)
            self.test_function = with_plain_errors(self.test_function)
        return self.test_function

    def reset_state(self) -> None:
        """Forget the carried state: the next batch begins at zero."""
        self._replicas.run(self._carried.reset)

    def test_step(self, data):
        return self._evaluation.step(data)

    def train_step(self, data):
        """One batch. Under a distribution strategy this is called outside of the replicas."""
        _replicas.build_optimizer(self)
        given = keras.utils.unpack_x_y_sample_weight(data)
        steps, state, *data = self._replicas.run(self._begin, *given)
        loss, state = self._walk(data, state, self._replicas.first(steps))
        self._replicas.run(self._end, data[0], state, loss)
        return self.get_metrics_result()

    def _begin(self, x, y, sample_weight):
        """The batch's time steps, its first state, and its inputs (flat), targets and weights."""
        x = self._explicit.flat_inputs(x)
        y, sample_weight = keras.tree.map_structure(_tensor, (y, sample_weight))
        steps = self._replicas.same("time steps of a batch", self._explicit.time_steps(x))
        stop_on(steps == 0, "A batch must have at least one time step. Received: T=", steps)
        if self._explicit.output_has_time[0]:
            self._windows.check_times("y", y, x, ranks=None)
            self._windows.check_times("sample_weight", sample_weight, x, ranks=1)
        batch = _rows(x)
        state = self._explicit.initial_state(batch)
        state = self._carried.read(state, batch) if self.stateful else state
        return steps, state, x, y, sample_weight

    def _end(self, x, state, loss):
        if self.stateful:
            self._carried.write(state, _rows(x))
        _keras.loss_tracker(self).update_state(loss, sample_weight=_rows(x))

    def get_config(self):
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "k1": self.k1,
            "k2": self.k2,
            "stateful": self.stateful,
            "time_local": self._explicit.time_local_names,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls(**{**config, "model": model})


def _rows(x):
    return tf.shape(next(iter(x.values())))[0]


def _tensor(value):
    return None if value is None else tf.convert_to_tensor(value)
