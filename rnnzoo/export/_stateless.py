"""The one signature of a model that has to see a whole sequence at once."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _keras
from rnnzoo.export._signatures import (
    Signature,
    Signatures,
    call_source,
    input_spec,
    same_rows,
    some_time,
    valid_lengths,
    widened,
)
from rnnzoo.graphs import functional_of


def stateless_signatures(model, reason):
    """`serving_default` alone, of a model that has to see the whole sequence."""
    sources = functional_of(model).inputs
    names = list(functional_of(model).output_names)
    has_time = [tensor.ndim > 2 or _has_embedding(model) for tensor in sources]
    all_ = Signatures(model, None, reason, sources, names, has_time)
    inputs = [input_spec(k, t) for k, t in zip(all_.inputs, sources)]
    all_.takes_lengths = any(has_time) and _honours_lengths(model, all_, inputs)
    extra = [tf.TensorSpec([None], tf.int32, "lengths")] if all_.takes_lengths else []
    all_["serving_default"] = Signature(_Stateless(all_), [*inputs, *extra])
    return all_


class _Stateless:
    """A whole sequence of a model whose state cannot be carried."""

    def __init__(self, signatures):
        self.signatures = signatures
        outputs = functional_of(signatures.model).outputs
        self.output_has_time = [y.ndim > 2 and y.shape[1] is None for y in outputs]

    def __call__(self, *arguments):
        signatures = self.signatures
        if not signatures.takes_lengths:
            outputs = call_source(signatures, arguments)
            return {name: widened(y) for name, y in zip(signatures.outputs, outputs)}
        *inputs, lengths = arguments
        has_time = signatures.input_has_time
        time = tf.shape(inputs[has_time.index(True)])[1]
        with tf.control_dependencies([same_rows(arguments), valid_lengths(lengths, time)]):
            mask = tf.sequence_mask(lengths, tf.maximum(time, 1))
        inputs = [some_time(x) if timed else x for x, timed in zip(inputs, has_time)]
        outputs = call_source(signatures, inputs, mask)
        return {
            name: widened(y[:, :time] if timed else y)
            for name, y, timed in zip(signatures.outputs, outputs, self.output_has_time)
        }


def _honours_lengths(model, signatures, inputs):
    """Whether what lies past a sequence's length leaves its outputs as they are."""
    time, length = 6, 4
    if any(
        timed and spec.shape[1] is not None
        for spec, timed in zip(inputs, signatures.input_has_time)
    ):
        return False  # a fixed time: a shorter sequence has no meaning of its own
    arrays = list(signatures.example(inputs, 2, time).values())
    short = [x[:, :length] if timed else x for x, timed in zip(arrays, signatures.input_has_time)]
    mask = tf.sequence_mask([length, length], time)
    whole = call_source(signatures, arrays, mask)
    for a, b in zip(whole, call_source(signatures, short)):
        if a.shape != b.shape:
            a = a[:, :length]
        if a.shape != b.shape or not np.allclose(a, b, rtol=1e-3, atol=1e-3):
            return False
    return True


def _has_embedding(model):
    return any(isinstance(layer, keras.layers.Embedding) for layer in _keras.flat_layers(model))
