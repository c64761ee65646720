"""TruncatedBPTT: the training step that walks a long sequence in strides."""

from functools import partial

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.streaming import explicit_state
from rnnzoo.training import _replicas
from rnnzoo.training._carried import CarriedState, ResetEachEpoch
from rnnzoo.training._evaluation import CarriedEvaluation
from rnnzoo.training._steps import stop_on, with_plain_errors
from rnnzoo.training._update import WindowUpdate
from rnnzoo.training._windows import Windows, cut_time


@keras.saving.register_keras_serializable(package="rnnzoo")
class TruncatedBPTT(WindowUpdate, CarriedEvaluation):
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

    def __init__(self, model, k1, k2=None, stateful=False, time_local=(), **kwargs):
        k1 = _checks.integer("k1", k1)
        k2 = k1 if k2 is None else _checks.integer("k2", k2)
        if k2 < k1:
            raise ValueError(f"`k2` must be at least `k1`={k1}. Received: k2={k2}")
        super().__init__(**kwargs)
        self.k1, self.k2 = k1, k2
        self.stateful = _checks.boolean("stateful", stateful)
        self._explicit = explicit_state(model, time_local)
        self._check_model()
        self._windows = Windows(self._explicit, k1, k2)
        self.model = model
        self._carried = CarriedState(self._explicit.state_spec)
        self._evaluated = CarriedState(self._explicit.state_spec)
        self._together = _replicas.of(self)
        self._penalty = None
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

    def fit(self, *args, **kwargs):
        at = 5  # where `callbacks` stands if it is given by position
        callbacks = args[at] if len(args) > at else kwargs.get("callbacks")
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(ResetEachEpoch(self))
        else:
            own = [] if callbacks is None else keras.tree.flatten(callbacks)
            callbacks = [*own, ResetEachEpoch(self)]
        if len(args) > at:
            return super().fit(*args[:at], callbacks, *args[at + 1 :], **kwargs)
        return super().fit(*args, **{**kwargs, "callbacks": callbacks})

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            if self._distribute_strategy is None:
                super().make_train_function(force)
            else:
                self.train_function = _replicas.make_function(self, self.train_step)
            self.train_function = with_plain_errors(self.train_function)
        return self.train_function

    def reset_state(self):
        """Forget the carried state: the next batch begins at zero."""
        self._together.run(self._carried.reset)

    @property
    def losses(self):
        """The model's own penalties; while a stride is trained, those of its window."""
        return super().losses if self._penalty is None else [self._penalty]

    def train_step(self, data):
        """One batch. Under a distribution strategy this is called outside of the replicas."""
        _replicas.build_optimizer(self)
        data = keras.utils.unpack_x_y_sample_weight(data)
        steps, state = self._together.run(self._begin, *data)
        steps = self._together.first(steps)
        walk = self._walk if self._explicit.output_has_time[0] else self._walk_to_the_end
        loss, state = walk(data, state, steps)
        self._together.run(self._end, data[0], state, loss)
        return self.get_metrics_result()

    def _begin(self, x, y, sample_weight):
        """The batch's time steps and its first state."""
        steps = self._together.same("time steps of a batch", self._explicit.time_steps(x))
        stop_on(steps == 0, "A batch must have at least one time step. Received: T=", steps)
        if self._explicit.output_has_time[0]:
            self._windows.check_times("y", y, x, ranks=None)
            self._windows.check_times("sample_weight", sample_weight, x, ranks=1)
        batch = _rows(x)
        state = self._explicit.initial_state(batch)
        return steps, self._carried.read(state, batch) if self.stateful else state

    def _end(self, x, state, loss):
        if self.stateful:
            self._carried.write(state, _rows(x))
        self._loss_tracker.update_state(loss, sample_weight=_rows(x))

    def _walk(self, data, state, steps):
        """Outputs over time: one update a stride.

        Where T is known, so is every stride's length, and the last, shorter one stands after the
        loop: recurrences compile for known lengths.
        """

        def walk(begin, length, window_state, last_state, loss_sum, count):
            del last_state
            end = tf.minimum(begin + self.k1, steps)
            cut = self._together.run(partial(self._cut, length=length), *data, begin, end)

            def window(x, state, begin, end, steps):
                return self._windows.stride(x, state, begin, end, steps, length)

            given = data[0], window_state, begin, end, steps
            loss, weight, (window_state, last_state) = self._update_if_weighted(window, given, cut)
            return end, window_state, last_state, loss_sum + loss * weight, count + weight

        known = self._explicit.static_time_steps(self._together.first(data[0]))
        rest = 0 if known is None else known % self.k1
        length = None if known is None else self.k1
        zero = tf.constant(0.0)
        walked = tf.while_loop(
            lambda begin, *_: begin < steps - rest,
            lambda begin, *sums: walk(begin, length, *sums),
            (tf.constant(0), state, state, zero, zero),
            parallel_iterations=1,
        )
        begin, *sums = walked
        _, _, state, loss_sum, count = walk(begin, rest, *sums) if rest else walked
        return tf.math.divide_no_nan(loss_sum, count), state

    def _cut(self, x, y, sample_weight, begin, end, length):
        """A stride's inputs, targets and weights."""
        weights = cut_time(sample_weight, begin, end, per_row=True)
        return self._explicit.slice_time(x, begin, end, length), cut_time(y, begin, end), weights

    def _walk_to_the_end(self, data, state, steps):
        """Outputs at the end alone: forward up to the last window, then one update."""
        x, y, sample_weight = data
        first = tf.maximum(0, steps - self.k2)

        def forward(x, state, begin, end):
            return self._windows.forward(x, state, begin, end)

        def body(begin, state):
            end = tf.minimum(begin + self.k1, first)
            return end, self._together.run(lambda *a: forward(*a)[1], x, state, begin, end)

        _, state = tf.while_loop(
            lambda begin, _: begin < first, body, (tf.constant(0), state), parallel_iterations=1
        )
        end = self._together.run(self._explicit.slice_time, x, first, steps)
        loss, _, final = self._update_if_weighted(
            forward, (x, state, first, steps), (end, y, sample_weight)
        )
        return loss, final

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
    return tf.shape(keras.tree.flatten(x)[0])[0]
