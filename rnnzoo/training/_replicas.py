"""Steps under a distribution strategy that are those of one device with the whole batch.

Keras's own step averages the replicas' losses, though masks leave them different numbers of time
steps, and clips each replica's gradient before the sum. It cannot stand in a loop either: what the
replicas do together must not be inside a `tf.while_loop` or `tf.cond` that one of them runs. So
here loops and conditions stand outside of the replicas, with calls of `Replicas.run` in them, and
the optimizer gets the sum of all gradients.
"""

from functools import partial

import keras
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.training._losses import OwnLoss, SharedLoss, penalty_of
from rnnzoo.training._steps import stop_on


class Alone:
    """No strategy: one device, on which nothing is to be summed."""

    def run(self, function, *args):
        return function(*args)

    def first(self, values):
        return values

    def any(self, flag):
        return flag

    def same(self, name, value):
        del name
        return value

    def loss(self, model, loss, penalty, y_pred):
        return OwnLoss(model, loss, penalty, y_pred)

    def apply(self, optimizer, gradients, variables):
        optimizer.apply(gradients, variables)


class Replicas:
    """The replicas of a strategy. `run`, `first` and `apply` are called outside of them, the other
    methods in them."""

    def __init__(self, strategy):
        self.strategy = strategy

    def run(self, function, *args):
        return self.strategy.run(function, args)

    def first(self, values):
        """The values of the first replica here, where all have the same."""
        return tf.nest.map_structure(
            lambda value: self.strategy.experimental_local_results(value)[0], values
        )

    def sum(self, values):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

    def any(self, flag):
        return self.sum(tf.cast(flag, tf.int32)) > 0

    def same(self, name, value):
        """`value`, an integer; it is an error where replicas differ, which would wait forever."""
        total, count = self.sum(value), self.strategy.num_replicas_in_sync
        message = f"All replicas must have the same {name}. Received, their sum and one of them: "
        with tf.control_dependencies(stop_on(total != count * value, message, total, value)):
            return tf.identity(value)

    def loss(self, model, loss, penalty, y_pred):
        return SharedLoss(self, model, loss, penalty, y_pred)

    def apply(self, optimizer, gradients, variables):
        """An optimizer step on the summed gradients, which clipping therefore sees whole."""
        # Keras would clip, and then sum: here the sum is already taken.
        with _keras.summed_gradients(optimizer):
            self.run(optimizer.apply, gradients, variables)


def of(model):
    """The `Replicas` of the strategy in whose scope the model was made, or `Alone`."""
    strategy = _keras.strategy_of(model)
    return Alone() if strategy is None else Replicas(strategy)


def build_optimizer(model):
    """Make the optimizer's variables where the model's are."""
    if not model.optimizer.built:
        with tf.init_scope(), model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)


def make_function(model, step):
    """What Keras's `fit` or `evaluate` calls with an iterator: `step` on its next batch.

    `step` is called outside of the replicas.
    """
    _check(model)

    def one_step_on_replicas(data):
        with _keras.strategy_of(model).scope():
            step(data)
            return model.get_metrics_result()

    if not model.run_eagerly:
        one_step_on_replicas = tf.function(
            one_step_on_replicas, reduce_retracing=True, autograph=False
        )
    return lambda iterator: one_step_on_replicas(next(iterator))


def _check(model):
    if model.steps_per_execution != 1:
        raise ValueError(
            "`steps_per_execution` must be 1 under a distribution strategy. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )
    for loss in keras.tree.flatten(model.loss):
        reduction = getattr(loss, "reduction", "sum_over_batch_size")
        if reduction not in ("sum_over_batch_size", "mean"):
            raise ValueError(
                "`loss` must be an average over the batch (reduction='sum_over_batch_size') under "
                f"a distribution strategy. Received: {loss.name} with reduction={reduction!r}"
            )


def replicate(model):
    """Make `fit` and `evaluate` of a compiled model take the steps of one device.

    The model is one that was made in the scope of a `tf.distribute` strategy. One that makes its
    own functions (`TruncatedBPTT`) keeps them; compiling any other again undoes this.
    """
    _keras.replace_symbolic_build(model, partial(_symbolic_build, model))
    if type(model).make_train_function is not keras.Model.make_train_function:
        return
    replicas = of(model)

    def train(data):
        build_optimizer(model)
        gradients = replicas.first(replicas.run(_train_part, model, data))
        replicas.apply(model.optimizer, gradients, model.trainable_variables)

    model.train_function = make_function(model, train)
    model.test_function = make_function(model, lambda data: replicas.run(_test_part, model, data))


def _symbolic_build(model, iterator=None, data_batch=None):
    """Keras's, for metrics and loss; that one reduces a batch over all processes, and fails."""
    if iterator is not None:
        _, _, batches = next(iter(iterator))
        data_batch = next(batches)
    with _keras.strategy_of(model).scope():
        _keras.symbolic_build(model, of(model).first(data_batch))


def _train_part(model, data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with tf.GradientTape() as tape:
        y_pred, shared = _predict(model, x, y, sample_weight, training=True)
    gradients = shared.gradients(tape)
    _score(model, x, y, sample_weight, y_pred, shared)
    return gradients


def _test_part(model, data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y_pred, shared = _predict(model, x, y, sample_weight, training=False)
    _score(model, x, y, sample_weight, y_pred, shared)


def _predict(model, x, y, sample_weight, training):
    """What the model predicts for a replica's rows, and the loss of it."""
    replicas = of(model)
    y_pred = model(x, training=training)
    # Before the loss is shared, where the other replicas take their turn with the same model.
    penalty = penalty_of(model)
    both = model.compute_loss(
        x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
    )
    number = replicas.strategy.num_replicas_in_sync
    loss = both - tf.cast(penalty, both.dtype) / number
    return y_pred, replicas.loss(model, loss, penalty, y_pred)


def _score(model, x, y, sample_weight, y_pred, shared):
    _keras.loss_tracker(model).update_state(shared.value(), sample_weight=shared.rows)
    model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def all_have(model, number):
    """Whether all replicas have the same `number`, once they have all come to say so."""
    strategy = _keras.strategy_of(model)
    if strategy is None:
        return True
    replicas = Replicas(strategy)
    total = replicas.first(replicas.run(replicas.sum, tf.constant(number)))
    return int(total) == number * strategy.num_replicas_in_sync


def share_batches(model, dataset, batch_size):
    """Batches, each cut by rows into as many parts as there are replicas.

    Every process makes whole batches and keeps the rows of its own replicas, so that the order is
    that of one process. Parts of a smaller last batch may differ by one row.
    """
    strategy = _keras.strategy_of(model)
    if strategy is None:
        return dataset
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            f"`batch_size` must be a multiple of the {replicas} replicas that share a batch. "
            f"Received: batch_size={batch_size}"
        )

    def parts(context):
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here

        def cut(*batch):
            def part(replica):
                rows = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
                begin, end = rows * replica // replicas, rows * (replica + 1) // replicas
                return tf.nest.map_structure(lambda value: value[begin:end], batch)

            return tf.data.Dataset.range(first, first + here).map(part)

        return dataset.flat_map(cut)

    shared = strategy.distribute_datasets_from_function(parts)
    # Keras asks for the number of batches, which is lost in `flat_map`.
    _keras.set_cardinality(shared, int(dataset.cardinality()))
    return shared
