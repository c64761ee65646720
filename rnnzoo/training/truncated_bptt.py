"""TruncatedBPTT: the training step that walks a long sequence in strides."""

import keras
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.streaming import explicit_state
from rnnzoo.training._carried import CarriedState, ResetEachEpoch
from rnnzoo.training._evaluation import CarriedEvaluation
from rnnzoo.training._steps import StepWeighted, stop_on, with_plain_errors
from rnnzoo.training._windows import Windows, count_steps, cut_time, some_weight


@keras.saving.register_keras_serializable(package="rnnzoo")
class TruncatedBPTT(CarriedEvaluation):
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

    Masks are those that the model makes (Masking, Embedding).

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
            super().make_train_function(force)
            self.train_function = with_plain_errors(self.train_function)
        return self.train_function

    def reset_state(self):
        """Forget the carried state: the next batch begins at zero."""
        self._carried.reset()

    @property
    def losses(self):
        """The model's own penalties; while a stride is trained, those of its window."""
        return super().losses if self._penalty is None else [self._penalty]

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not self.optimizer.built:
            with tf.init_scope():
                self.optimizer.build(self.trainable_variables)
        steps = self._explicit.time_steps(x)
        batch = tf.shape(keras.tree.flatten(x)[0])[0]
        stop_on(steps == 0, "A batch must have at least one time step. Received: T=", steps)
        state = self._explicit.initial_state(batch)
        if self.stateful:
            state = self._carried.read(state, batch)
        if self._explicit.output_has_time[0]:
            self._windows.check_times("y", y, x, ranks=None)
            self._windows.check_times("sample_weight", sample_weight, x, ranks=1)
            loss, state = self._walk(x, y, sample_weight, state, steps)
        else:
            loss, state = self._walk_to_the_end(x, y, sample_weight, state, steps)
        if self.stateful:
            self._carried.write(state, batch)
        self._loss_tracker.update_state(loss, sample_weight=batch)
        return self.get_metrics_result()

    def _walk(self, x, y, sample_weight, state, steps):
        """Outputs over time: one update a stride.

        Where T is known, so is every stride's length, and the last, shorter one stands after the
        loop: recurrences compile for known lengths.
        """

        def walk(begin, length, window_state, last_state, loss_sum, count):
            del last_state
            end = tf.minimum(begin + self.k1, steps)
            targets = cut_time(y, begin, end), cut_time(sample_weight, begin, end, per_row=True)
            loss, weight, (window_state, last_state) = self._update_if_weighted(
                lambda: self._windows.stride(x, window_state, begin, end, steps, length),
                self._explicit.slice_time(x, begin, end, length),
                *targets,
            )
            return end, window_state, last_state, loss_sum + loss * weight, count + weight

        known = self._explicit.static_time_steps(x)
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

    def _walk_to_the_end(self, x, y, sample_weight, state, steps):
        """Outputs at the end alone: forward up to the last window, then one update."""
        first = tf.maximum(0, steps - self.k2)

        def body(begin, state):
            end = tf.minimum(begin + self.k1, first)
            _, state, _ = self._windows.forward(x, state, begin, end)
            return end, state

        _, state = tf.while_loop(
            lambda begin, _: begin < first, body, (tf.constant(0), state), parallel_iterations=1
        )

        loss, _, final = self._update_if_weighted(
            lambda: self._windows.forward(x, state, first, steps),
            self._explicit.slice_time(x, first, steps),
            y,
            sample_weight,
        )
        return loss, final

    def _update_if_weighted(self, window, x, y, sample_weight):
        """`_update`, with an optimizer step only where some weight is not zero."""
        if sample_weight is None:
            return self._update(window, x, y, None, True)
        return tf.cond(
            some_weight(sample_weight),
            lambda: self._update(window, x, y, sample_weight, True),
            lambda: self._update(window, x, y, sample_weight, False),
        )

    def _update(self, window, x, y, sample_weight, learn):
        """The loss of a window and, if `learn`, an optimizer step on it; metrics are updated."""
        stride = self._explicit.time_steps(x) if self._explicit.output_has_time[0] else 1
        means = StepWeighted(self.metrics, self._loss_tracker, stride)
        with tf.GradientTape() as tape:
            y_pred, states, self._penalty = window()
            try:
                loss = self._compute_loss(x, y, y_pred, sample_weight, training=True)
            finally:
                self._penalty = None
            scaled = self.optimizer.scale_loss(loss)
        mask = getattr(keras.tree.flatten(y_pred)[0], "_keras_mask", None)
        if learn:
            gradients = tape.gradient(scaled, self.trainable_variables)
            self._apply(self._checked(gradients, loss), mask, sample_weight)
        self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        means.finish()
        states = tf.nest.map_structure(tf.stop_gradient, states)
        return tf.cast(loss, tf.float32), count_steps(keras.tree.flatten(y_pred)[0], mask), states

    def _checked(self, gradients, loss):
        """The gradients, once the loss is known to be finite."""
        stop = stop_on(
            tf.logical_not(tf.math.is_finite(loss)),
            "The loss is not finite at the optimizer step (counted from 0), loss: ",
            self.optimizer.iterations,
            loss,
        )
        with tf.control_dependencies(stop):
            return [None if g is None else tf.identity(g) for g in gradients]

    def _apply(self, gradients, mask, sample_weight):
        """Take the step, unless the mask leaves nothing that has a loss."""

        def apply():
            self.optimizer.apply_gradients(list(zip(gradients, self.trainable_variables)))
            return True

        if mask is None:
            apply()
        else:
            tf.cond(some_weight(sample_weight, mask), apply, lambda: True)

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
