"""This package's layers, in the models of `with_keras`; by their public API alone."""

import atexit
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf

import rnnzoo
import rnnzoo.export
from benchmarks.peers import data, with_keras
from rnnzoo.metrics.perplexity import TokenCrossEntropy
from rnnzoo.models.language_model import LanguageModel

LAYERS = {
    "hdetach_lstm": rnnzoo.layers.HDetachLSTM,
    "stable_rnn": rnnzoo.layers.StableRNN,
    "lru": rnnzoo.layers.LRU,
    "lru_block": rnnzoo.layers.LRUBlock,
    "complex_rnn": rnnzoo.layers.ComplexRNN,
    "linear_rnn": rnnzoo.layers.LinearRNN,
}


def layer(kind, units, **options):
    return LAYERS[kind](units, return_sequences=True, **options)


def train(kind, units, batch, steps, features, options=None, **shape):
    make = lambda: layer(kind, units, **options or {})  # noqa: E731
    return with_keras.train_call(make, batch, steps, features, **shape)


def infer(kind, units, batch, steps, features, options=None, **shape):
    make = lambda: layer(kind, units, **options or {})  # noqa: E731
    return with_keras.infer_call(make, batch, steps, features, **shape)


def stable_rnn(units, batch, steps, features, where, constrained):
    """A training step; the recurrent matrix begins at the bound or well inside."""
    initial = keras.initializers.Orthogonal(gain=1.0 if where == "boundary" else 0.1, seed=0)
    recurrent = layer("stable_rnn", units, recurrent_initializer=initial)
    model = with_keras.compiled(with_keras.model_of(lambda: recurrent, steps, features))
    if not constrained:
        recurrent.cell.recurrent_kernel.constraint = None
    x, y = (
        tf.constant(data.sequences(batch, steps, features)),
        tf.constant(data.labels(batch, steps)),
    )
    return lambda: model.train_on_batch(x, y)


def first_fit(kind, units, batch, steps, features, options=None):
    make = lambda: layer(kind, units, **options or {})  # noqa: E731
    return with_keras.first_fit_call(make, batch, steps, features)


def lru(batch, steps, size, form="auto"):
    """Forward and backward of an LRU: gradients of all weights and of the input."""
    return gradients(lru_layer(size, form), batch, steps, size)


def lru_block(batch, steps, size):
    return gradients(lru_block_layer(size), batch, steps, size)


def complex_rnn(batch, steps, size):
    return gradients(complex_rnn_layer(size), batch, steps, size)


def linear_rnn(batch, steps, size):
    return gradients(linear_rnn_layer(size), batch, steps, size)


def gradients(recurrent, batch, steps, size):
    x = tf.constant(data.sequences(batch, steps, size))
    upstream = tf.constant(data.sequences(batch, steps, size, seed=1))

    @tf.function(autograph=False)
    def run(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = recurrent(x, training=True)
        return tape.gradient(y, [x, *recurrent.trainable_variables], upstream)

    return lambda: run(x, upstream)[-1].numpy()


def lru_layer(size, form="auto"):
    return _with_weights(layer("lru", size, form=form), data.lru_weights(size), size)


def lru_block_layer(size):
    return _with_weights(layer("lru_block", size), data.lru_block_weights(size), size)


def complex_rnn_layer(size):
    return _with_weights(layer("complex_rnn", size), data.complex_rnn_weights(size), size)


def linear_rnn_layer(size):
    return _with_weights(layer("linear_rnn", size), data.linear_rnn_weights(size), size)


def _with_weights(recurrent, weights, size):
    recurrent.build((None, None, size))
    recurrent.set_weights(list(weights.values()))
    return recurrent


def diagonal(batch, steps, size):
    """The bare recurrence h_t = lambda h_{t-1} + z_t, forward."""
    z = [tf.constant(data.sequences(batch, steps, size, seed)) for seed in (0, 1)]
    zero = tf.zeros([batch, size])
    radius = tf.linspace(0.9, 0.999, size)

    @tf.function(autograph=False)
    def run(re, im):
        return rnnzoo.recurrences.diagonal(re, im, zero, zero, 0.6 * radius, 0.8 * radius)

    return lambda: run(*z)


def truncated_bptt(units, batch, steps, features, chunk):
    """A batch walked in strides of `chunk`, an optimizer step each, by one `train_on_batch`."""
    make = lambda: layer("hdetach_lstm", units, p=0.0)  # noqa: E731
    model = with_keras.model_of(make, None, features)
    trainer = with_keras.compiled(rnnzoo.TruncatedBPTT(model, k1=chunk))
    x = tf.constant(data.sequences(batch, steps, features))
    y = tf.constant(data.labels(batch, steps))
    return lambda: trainer.train_on_batch(x, y)


def words(units, batch, steps, vocabulary, softmax):
    """A training step of a language model on words that are as frequent as 1 / their number."""
    recurrent = layer("hdetach_lstm", units, p=0.0)
    model = LanguageModel(recurrent, vocabulary, softmax=softmax)
    outputs = "logits" if softmax == "full" else "target_log_probability"
    model.compile(keras.optimizers.SGD(1.0), TokenCrossEntropy(outputs))
    drawn = np.random.default_rng(0).uniform(size=[batch, steps + 1])
    text = (vocabulary**drawn).astype(np.int32) - 1
    x, y = tf.constant(text[:, :-1]), tf.constant(text[:, 1:])
    given = x if softmax == "full" else {"tokens": x, "targets": y}
    return lambda: model.train_on_batch(given, y)


def window(units, batch, steps, features, k):
    """`TruncatedWrapper(..., mode="window")`, all windows at once."""
    model = window_model(units, steps, features, k)
    x = tf.constant(data.sequences(batch, steps, features))
    return lambda: model.predict_on_batch(x)


def window_model(units, steps, features, k):
    recurrent = layer("hdetach_lstm", units)
    wrapped = rnnzoo.layers.TruncatedWrapper(recurrent, k=k, mode="window")
    return keras.Sequential([keras.Input((steps, features)), wrapped])


def exported(units, batch, steps, features):
    """The `serving_default` of an exported model, whole sequences."""
    signature = _loaded(units, features).signatures["serving_default"]
    x = tf.constant(data.sequences(batch, steps, features))
    lengths = tf.fill([batch], steps)
    return lambda: signature(x=x, lengths=lengths)["outputs"].numpy()


def step_signature(units, features):
    """One step through the `step` signature of an exported model, state in and out."""
    signature = _loaded(units, features).signatures["step"]
    x = tf.constant(data.sequences(1, 1, features)[:, 0])
    names = [n for n in signature.structured_input_signature[1] if n.startswith("state_")]
    state = {name: tf.zeros([1, units]) for name in names}

    def run():
        y = signature(x=x, **state)
        state.update({name: y[f"next_{name}"] for name in names})
        return y["outputs"].numpy()

    return run


def explicit_step(units, features):
    """One step of `explicit_state`, in a `tf.function`."""
    stream = rnnzoo.explicit_state(stream_model(units, features))
    run = tf.function(stream.step, autograph=False)
    x = tf.constant(data.sequences(1, 1, features)[:, 0])
    state = stream.initial_state(1)

    def step():
        nonlocal state
        y, state = run(x, state)
        return y.numpy()

    return step


def stream_model(units, features):
    return with_keras.model_of(lambda: layer("hdetach_lstm", units), None, features)


def _loaded(units, features):
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    written = rnnzoo.export.export_model(stream_model(units, features), folder, check=False)
    return tf.saved_model.load(written)
