"""What the door's functions do under a strategy with two devices, as JSON on the last line.

A script: TensorFlow makes two devices of one processor only before it has computed anything.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _keras

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def moved(summed, wrap):
    """How far an optimizer step of rate 1 goes with a gradient of 1 in each replica."""
    with STRATEGY.scope():
        variable = keras.Variable([0.0], name="w")
        optimizer = wrap(keras.optimizers.SGD(1.0))
        optimizer.build([variable])

    def apply():
        with tf.GradientTape() as tape:
            loss = optimizer.scale_loss(tf.reduce_sum(tf.convert_to_tensor(variable)))
        optimizer.apply(tape.gradient(loss, [variable.value]), [variable])

    @tf.function
    def run():
        STRATEGY.run(apply)

    if summed:
        with _keras.summed_gradients(optimizer):
            run()
    else:
        run()
    return -float(variable.numpy()[0])


def fitted():
    """Steps of an epoch as Keras sees them, and whether both ways to a strategy are the same."""
    with STRATEGY.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"])
    outside = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def batches(context):
        del context
        x, y = np.ones([12, 2], "float32"), np.ones([12, 1], "float32")
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
        return batches.flat_map(
            lambda *pair: tf.data.Dataset.from_tensors(pair)
        )  # how many, nobody knows

    shared = STRATEGY.distribute_datasets_from_function(batches)
    before = keras.src.trainers.data_adapters.tf_dataset_adapter.TFDatasetAdapter
    unknown = before(shared, distribution=None).num_batches
    _keras.set_cardinality(shared, 3)
    asked = []

    def build(iterator=None, data_batch=None):
        del data_batch
        asked.append(iterator is not None)
        _keras.symbolic_build(model, (np.ones([2, 2], "float32"), np.ones([2, 1], "float32")))

    _keras.replace_symbolic_build(model, build)
    seen = keras.callbacks.Callback()
    model.fit(shared, verbose=0, callbacks=[seen])
    return {
        "steps": [unknown, seen.params["steps"]],
        "asked": asked,
        "strategies": [_keras.strategy_of(model) is STRATEGY, _keras.strategy_of(outside) is None],
    }


def main():
    scaled = keras.optimizers.LossScaleOptimizer
    results = {
        "moved": [moved(summed, lambda inner: inner) for summed in (False, True)],
        "scaled": [moved(summed, scaled) for summed in (False, True)],
        **fitted(),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
