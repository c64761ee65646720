"""The functions behind an export's signatures, with named tensors in and flat dicts out."""

import re

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _keras

_NARROW = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


class Signature:
    """One function of an export: its named inputs, and a flat dict of outputs."""

    def __init__(self, function, inputs):
        _check_distinct([spec.name for spec in inputs])
        self.inputs, self.body = inputs, function
        self.function = tf.function(function, input_signature=inputs, autograph=False)

    def outputs(self):
        """`{name: spec}` of what it returns; traces the function if it was not yet."""
        traced = self.function.get_concrete_function()
        return dict(sorted(traced.structured_outputs.items()))


class Signatures(dict):
    """All signatures of an export by name, with what the checks need to know of the source.

    Attributes:
        model: the source.
        stream: its `ExplicitState`, or None.
        reason: why there are no states, else None.
        state_names: names of the states, without prefix.
        time_local: names of the layers that the caller vouched for.
        takes_lengths: whether `serving_default` has `lengths`.
        inputs: `{signature name: source name}` of the model's inputs; `outputs` likewise.
        input_has_time: for each input.
        tokens: the inputs that are sequences of token ids, of which there are `vocabulary`.
    """

    def __init__(self, model, stream, reason, functional_inputs, outputs, has_time):
        super().__init__()
        self.model, self.stream, self.reason = model, stream, reason
        self.state_names = list(stream.state_names) if stream else []
        self.time_local = list(stream.time_local_names) if stream else []
        self.takes_lengths = True
        sources = [tensor.name for tensor in functional_inputs]
        self.inputs = dict(zip(_names(sources, "x"), sources))
        self.outputs = dict(zip(_names(outputs, "outputs"), outputs))
        _check_distinct([*self.inputs, *self.outputs])
        self.input_has_time = has_time
        self.sources = functional_inputs
        self.tokens = [
            name
            for name, tensor, timed in zip(self.inputs, functional_inputs, has_time)
            if timed and tensor.ndim == 2
        ]
        self.vocabulary = _vocabulary(model)

    def models(self):
        """Every Keras model that a signature calls: the source, and its rewired twins."""
        stream = self.stream
        twins = [stream.model, stream.masked_model, stream.step_model] if stream else []
        return [self.model, *twins]

    def example_requests(self):
        """One small valid request for each signature: `(name, {input: array})`."""
        return [(name, self.example(self[name].inputs, batch=1, time=2)) for name in self]

    def example(self, specs, batch, time, seed=0):
        """Random values for inputs, `{name: array}`, each sequence at its full length."""
        random = np.random.default_rng(seed)
        arrays = {}
        for spec in specs:
            shape = [batch, *(time if n is None else n for n in spec.shape[1:])]
            if spec.name == "lengths":
                values = np.full([batch], time)
            elif spec.name in self.tokens or not spec.dtype.is_floating:
                values = random.integers(0, self.vocabulary, shape)
            else:
                values = random.normal(size=shape)
            arrays[spec.name] = values.astype(spec.dtype.as_numpy_dtype)
        return arrays


def stateful_signatures(model, stream):
    """`serving_default`, `step` and `initial_state` of a model whose state can be carried."""
    sources = [stream.model.input[name] for name in stream.input_names]
    all_ = Signatures(model, stream, None, sources, stream.output_names, stream.input_has_time)
    states = [_state_spec(n, *stream.state_spec[n]) for n in stream.state_names]
    whole = [input_spec(k, t) for k, t in zip(all_.inputs, sources)]
    single = [
        _without_time(spec) if has_time else spec
        for spec, has_time in zip(whole, stream.input_has_time)
    ]
    lengths, rows = (tf.TensorSpec([None], tf.int32, n) for n in ("lengths", "rows"))
    all_["serving_default"] = Signature(_Whole(all_, stream), [*whole, lengths])
    all_["step"] = Signature(_Step(all_, stream), [*single, *states])
    all_["initial_state"] = Signature(_Initial(stream), [rows])
    return all_


class _Whole:
    """A whole sequence from the zero state."""

    def __init__(self, signatures, stream):
        self.signatures, self.stream = signatures, stream
        self.model = stream.masked_model
        self.timed = signatures.input_has_time.index(True)

    def __call__(self, *arguments):
        *inputs, lengths = arguments
        time = tf.shape(inputs[self.timed])[1]
        with tf.control_dependencies([same_rows([*inputs, lengths]), valid_lengths(lengths, time)]):
            mask = tf.sequence_mask(lengths, tf.maximum(time, 1))
        has_time = self.signatures.input_has_time
        inputs = [some_time(x) if timed else x for x, timed in zip(inputs, has_time)]
        given = _as_sources(self.signatures.inputs.values(), inputs, self.signatures.sources)
        state = self.stream.initial_state(tf.shape(lengths)[0])
        flat = self.model({**given, **state, "mask": mask}, training=False)
        outputs = {}
        for (name, source), timed in zip(
            self.signatures.outputs.items(), self.stream.output_has_time
        ):
            y = widened(flat[source])
            outputs[name] = y[:, :time] if timed else y
        return {**outputs, **next_states(self.stream, flat)}


class _Step:
    """One step of the cells, state in and out."""

    def __init__(self, signatures, stream):
        self.signatures, self.stream = signatures, stream
        self.model = stream.step_model

    def __call__(self, *arguments):
        count = len(self.signatures.inputs)
        with tf.control_dependencies([same_rows(arguments)]):
            arguments = [tf.identity(a) for a in arguments]
        state = dict(zip(self.stream.state_names, arguments[count:]))
        given = step_inputs(self.signatures, arguments[:count], state)
        flat = self.model(given, training=False)
        outputs = {n: widened(flat[source]) for n, source in self.signatures.outputs.items()}
        return {**outputs, **next_states(self.stream, flat)}


class _Initial:
    """One row in, one zero state out."""

    def __init__(self, stream):
        self.stream = stream

    def __call__(self, rows):
        state = self.stream.initial_state(tf.shape(rows)[0])
        return {f"state_{_safe(name)}": widened(value) for name, value in state.items()}


def call_source(signatures, inputs, mask=None):
    """The source model on flat inputs, to flat outputs."""
    model, sources = signatures.model, signatures.sources
    inputs = [tf.cast(x, t.dtype) for x, t in zip(inputs, sources)]
    if mask is not None:
        masks = [mask if timed else None for timed in signatures.input_has_time]
        mask = masks if len(masks) > 1 else masks[0]
    if _keras.is_functional(model):
        packed = keras.tree.pack_sequence_as(model.input, inputs)
    else:
        packed = inputs[0]
    return keras.tree.flatten(model(packed, training=False, mask=mask))


def same_rows(tensors):
    """Refuse batches of different sizes, which would broadcast."""
    sizes = tf.stack([tf.shape(t)[0] for t in tensors])
    return tf.debugging.Assert(
        tf.reduce_all(tf.equal(sizes, sizes[0])),
        ["All inputs must have the same number of rows. Received:", sizes],
    )


def valid_lengths(lengths, time):
    return tf.debugging.Assert(
        tf.reduce_all((lengths >= 0) & (lengths <= time)),
        ["`lengths` must be from 0 to the number of time steps,", time, "Received:", lengths],
    )


def some_time(x):
    """At least one time step (a masked one): Keras's loops need one to stand on."""
    missing = tf.maximum(1 - tf.shape(x)[1], 0)
    return tf.pad(x, [[0, 0], [0, missing], *[[0, 0]] * (x.shape.rank - 2)])


def _as_sources(names, values, tensors):
    return {n: tf.cast(v, t.dtype) for n, v, t in zip(names, values, tensors)}


def step_inputs(signatures, inputs, state):
    """What a step model takes, from inputs in their order and states by name."""
    stream = signatures.stream
    given = _as_sources(signatures.inputs.values(), inputs, signatures.sources)
    return given | {n: tf.cast(state[n], stream.state_spec[n][1]) for n in stream.state_names}


def next_states(stream, flat, prefix="next_"):
    return {f"next_state_{_safe(n)}": widened(flat[prefix + n]) for n in stream.state_names}


def widened(tensor):
    return tf.cast(tensor, _wide(tensor.dtype.name))


def _wide(dtype):
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in _NARROW else dtype


def input_spec(name, tensor):
    return tf.TensorSpec([None, *tensor.shape[1:]], _wide(tensor.dtype), name)


def _without_time(spec):
    return tf.TensorSpec([None, *spec.shape[2:]], spec.dtype, spec.name)


def _state_spec(name, shape, dtype):
    return tf.TensorSpec([None, *shape], _wide(dtype), f"state_{_safe(name)}")


def _names(names, single):
    return [single] if len(names) == 1 else [_safe(name) for name in names]


def _safe(name):
    return re.sub(r"\W", "_", name)


def _check_distinct(names):
    repeated = sorted({n for n in names if names.count(n) > 1 or n == ""})
    if repeated:
        raise ValueError(
            "`model` must have inputs, outputs and states whose names differ in an export. "
            f"Received: {repeated} more than once; rename the layers"
        )


def _vocabulary(model):
    sizes = [
        layer.input_dim
        for layer in _keras.flat_layers(model)
        if isinstance(layer, keras.layers.Embedding)
    ]
    return min(sizes, default=2)
