"""Keras's own layers, and the models that every Keras layer (ours too) is measured in."""

import keras
import numpy as np
import tensorflow as tf

from benchmarks.peers import data

LAYERS = {"lstm": keras.layers.LSTM, "simple_rnn": keras.layers.SimpleRNN}


def layer(kind, units, **options):
    if kind == "dense":  # no recurrence at all: what Keras takes around one
        return keras.layers.Dense(units)
    return LAYERS[kind](units, return_sequences=True, **options)


def model_of(make_layer, steps, features, depth=1, bidirectional=False, masked=False):
    """Recurrent layers, then a Dense on each step to the classes."""
    parts = [keras.Input((steps, features))]
    if masked:
        parts.append(keras.layers.Masking())
    for _ in range(depth):
        recurrent = make_layer()
        parts.append(keras.layers.Bidirectional(recurrent) if bidirectional else recurrent)
    return keras.Sequential([*parts, keras.layers.Dense(data.CLASSES)])


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    return model


def train_call(make_layer, batch, steps, features, masked=False, **shape):
    """`train_on_batch` of the compiled model on one batch; it returns the loss as a number."""
    model = compiled(model_of(make_layer, steps, features, masked=masked, **shape))
    x = (data.padded if masked else data.sequences)(batch, steps, features)
    x, y = tf.constant(x), tf.constant(data.labels(batch, steps))
    return lambda: model.train_on_batch(x, y)


def infer_call(make_layer, batch, steps, features, masked=False, **shape):
    """`predict_on_batch`: the function that `model.predict` runs for each batch."""
    model = model_of(make_layer, steps, features, masked=masked, **shape)
    x = (data.padded if masked else data.sequences)(batch, steps, features)
    x = tf.constant(x)
    return lambda: model.predict_on_batch(x)


def train(kind, units, batch, steps, features, options=None, **shape):
    return train_call(lambda: layer(kind, units, **options or {}), batch, steps, features, **shape)


def infer(kind, units, batch, steps, features, options=None, **shape):
    return infer_call(lambda: layer(kind, units, **options or {}), batch, steps, features, **shape)


def first_fit(kind, units, batch, steps, features):
    return first_fit_call(lambda: layer(kind, units), batch, steps, features)


def first_fit_call(make_layer, batch, steps, features):
    """The first step of `fit`, with its tracing; to be run once."""
    model = compiled(model_of(make_layer, steps, features))
    x, y = data.sequences(batch, steps, features), data.labels(batch, steps)
    return lambda: model.fit(x, y, batch_size=batch, epochs=1, verbose=0)


def stateful_chunks(units, batch, steps, features, chunk):
    """Truncated BPTT as Keras gives it: a stateful layer, one chunk a batch, along one sequence."""
    inputs = keras.Input(batch_shape=(batch, chunk, features))
    recurrent = keras.layers.LSTM(units, return_sequences=True, stateful=True)
    model = compiled(keras.Sequential([inputs, recurrent, keras.layers.Dense(data.CLASSES)]))
    x, y = data.sequences(batch, steps, features), data.labels(batch, steps)
    chunks = [
        (tf.constant(x[:, t : t + chunk]), tf.constant(y[:, t : t + chunk]))
        for t in range(0, steps, chunk)
    ]

    def walk():
        recurrent.reset_state()
        for part in chunks:
            model.train_on_batch(*part)

    return walk


def windows(units, batch, steps, features, k):
    """A batch of the last `k` steps, for every step, through Keras."""
    ends, starts = window_models(units, features)
    x = data.sequences(batch, steps, features)
    cut = [tf.constant(x[:, t - k : t]) for t in range(k, steps + 1)]
    first = tf.constant(x[:, : k - 1])
    return lambda: window_outputs(ends, starts, first, cut)


def window_models(units, features):
    """The same LSTM giving its last output, and all of them."""
    x = keras.Input((None, features))
    last = keras.layers.LSTM(units)
    every = keras.layers.LSTM(units, return_sequences=True)
    ends, starts = keras.Model(x, last(x)), keras.Model(x, every(x))
    starts.set_weights(ends.get_weights())
    return ends, starts


def window_outputs(ends, starts, first, cut):
    """`[B, T, H]`: outputs before the first whole window in one pass, then a batch a window."""
    head = [] if not first.shape[1] else [starts.predict_on_batch(first)]
    return np.concatenate([*head, *(ends.predict_on_batch(w)[:, None] for w in cut)], axis=1)


def eager_step(units, features):
    """One step of a stateful LSTM and a Dense by calling the model."""
    inputs = keras.Input(batch_shape=(1, 1, features))
    recurrent = keras.layers.LSTM(units, stateful=True)
    model = keras.Sequential([inputs, recurrent, keras.layers.Dense(data.CLASSES)])
    x = tf.constant(data.sequences(1, 1, features))
    return lambda: model(x, training=False).numpy()
