"""`convert`: a Keras model with the zoo's layers in the place of its LSTMs and SimpleRNNs."""

from __future__ import annotations

import keras
import numpy as np

from rnnzoo import _checks, _keras, graphs
from rnnzoo.checkpoints._twins import TWINS
from rnnzoo.layers.stable_rnn import lipschitz


def convert(
    model: keras.Model, p: float = 0.25, contraction: float = 0.999, project: bool = False
) -> keras.Model:
    """Make the same model with `HDetachLSTM` and `StableRNN` in the place of Keras's layers.

    Every `keras.layers.LSTM` becomes an `HDetachLSTM`, every `SimpleRNN` a `StableRNN`, every
    `SimpleRNNCell` a `StableRNNCell`: in nested models, in `Bidirectional`, `TimeDistributed` and
    other wrappers, and in `RNN` over cells. An `LSTMCell` has no twin and stays, and so does a
    class derived from Keras's. All else is copied, under the same names. A layer that is called
    twice stays one layer. Weights are copied, none is shared, and the given model is not changed.
    So predictions are equal up to rounding; what changes is training.

    The new model is not compiled: an optimizer belongs to the variables that it was built for. The
    states of stateful layers and of random generators start anew.

    Args:
        model: A Functional or built Sequential Keras model.
        p: The probability with which an `HDetachLSTM` cuts at a step, in [0, 1].
        contraction: The bound that a `StableRNN` holds, in (0, 1).
        project: What to do with recurrent weights outside the bound: False (default) is an error,
            True takes the nearest weights inside. Predictions are then no longer equal.

    Returns:
        The new model, of the same class.

    Raises:
        TypeError: For a `model` that is none of Keras's.
        ValueError: For a subclassed or unbuilt model, one without a layer to convert, one that
            holds such a layer out of reach, an argument of a layer that its twin refuses, and a
            recurrent kernel outside the bound, whose layer and norm are named.

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input([None, 3]), keras.layers.LSTM(4)])
    >>> detached = convert(model, p=0.5)
    >>> type(detached.layers[0]).__name__, detached.layers[0].p
    ('HDetachLSTM', 0.5)
    >>> x = np.ones([1, 5, 3], "float32")
    >>> bool(np.allclose(model(x), detached(x), atol=1e-6))
    True
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    contraction = _checks.real("contraction", contraction, 0.0, 1.0, True, True)
    own = {
        keras.layers.LSTM: {"p": _checks.probability("p", p)},
        keras.layers.SimpleRNN: {"contraction": contraction},
    }
    own[keras.layers.SimpleRNNCell] = own[keras.layers.SimpleRNN]
    _checks.boolean("project", project)
    graphs.functional_of(model)
    if not _held(model):
        raise ValueError(
            "`model` must hold a keras.layers.LSTM, SimpleRNN or SimpleRNNCell. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    copy = _Copies(own).model(model)
    _match(model, copy)
    copy.set_weights(model.get_weights())
    _hold_bounds(model, copy, contraction, project)
    return copy


def _held(layer):
    """What there is to convert in a layer or model, at any depth."""
    found = _keras.flat_layers(layer) if isinstance(layer, keras.layers.Layer) else []
    return [inner for inner in found if type(inner) in TWINS]


class _Copies:
    """Copies of layers and models, each made once, with the twins in the place of Keras's."""

    def __init__(self, own):
        self._own, self._made = own, {}

    def of(self, operation):
        if id(operation) not in self._made:
            self._made[id(operation)] = self._copy(operation)
        return self._made[id(operation)]

    def _copy(self, operation):
        if _keras.is_functional(operation) or isinstance(operation, keras.Sequential):
            return self.model(operation)
        if not _held(operation):
            return type(operation).from_config(operation.get_config())
        config = keras.saving.serialize_keras_object(operation)
        if type(operation) is keras.layers.LSTM:  # which Keras leaves out of the configuration
            config["config"]["use_cudnn"] = operation.use_cudnn
            config["config"]["implementation"] = operation.cell.implementation
        known = {type(inner).__name__: type(inner) for inner in _keras.flat_layers(operation)}
        known = {name: kind for name, kind in known.items() if kind not in TWINS}
        try:
            return keras.saving.deserialize_keras_object(
                self._converted(config), custom_objects=known, safe_mode=False
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"The layer {operation.name!r} has no twin: {error}") from error

    def _converted(self, config):
        """A configuration in which each of Keras's layers is its twin, at any depth."""
        if isinstance(config, (list, tuple)):
            return [self._converted(item) for item in config]
        if not isinstance(config, dict):
            return config
        config = {key: self._converted(value) for key, value in config.items()}
        if config.get("module") != "keras.layers":
            return config
        kind = getattr(keras.layers, config["class_name"], None)
        if kind not in TWINS:
            return config
        return {
            "module": TWINS[kind].__module__,
            "class_name": TWINS[kind].__name__,
            "registered_name": keras.saving.get_registered_name(TWINS[kind]),
            "config": {**config["config"], **self._own[kind]},
        }

    def model(self, model):
        functional = graphs.functional_of(model)
        inputs = keras.tree.map_structure(self._input, functional.input)
        if isinstance(model, keras.Sequential):
            layers = [inputs, *(self.of(layer) for layer in model.layers)]
            return type(model)(layers, name=model.name)
        outputs = _keras.run_through_graph(
            functional, inputs, lambda operation, *args, **kw: self.of(operation)(*args, **kw)
        )
        try:
            return type(model)(inputs, outputs, name=model.name)
        except TypeError as error:
            raise ValueError(
                f"`model` must be Functional or Sequential, and {type(model).__name__} "
                f"{model.name!r} is made in a way of its own: {error}"
            ) from error

    def _input(self, tensor):
        layer = _keras.node_that_made(tensor).operation
        return type(layer).from_config(layer.get_config()).output


def _pairs(model, copy):
    return list(zip(_keras.flat_layers(model), _keras.flat_layers(copy), strict=True))


def _match(model, copy):
    """Refuse a copy that is not the same model; give its layers the same flags of training."""
    left = _held(copy)
    if left:
        raise ValueError(
            f"`model` must show its layers in its configuration, but {left[0].name!r}, a "
            f"{type(left[0]).__name__}, lies in a layer that makes it by itself. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    shapes = [[(w.path.split("/")[-1], w.shape) for w in m.weights] for m in (model, copy)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"`model` must be what its configuration makes: the copy of {model.name!r} has "
            f"{len(copy.weights)} weights, in shapes of its own; the model has "
            f"{len(model.weights)}. Are weights shared between layers?"
        )
    for old, new in _pairs(model, copy):
        if new.trainable != old.trainable:
            new.trainable = old.trainable


def _hold_bounds(model, copy, contraction, project):
    """Check the recurrent kernels of what became stable against the bound, or project them."""
    done = set()
    for old, new in _pairs(model, copy):
        if type(old) not in (keras.layers.SimpleRNN, keras.layers.SimpleRNNCell):
            continue
        cell = getattr(new, "cell", new)
        if id(cell) in done:  # the cell of a layer, met before
            continue
        done.add(id(cell))
        kernel = keras.ops.convert_to_numpy(cell.recurrent_kernel)
        nearest = keras.ops.convert_to_numpy(cell.recurrent_constraint(cell.recurrent_kernel))
        if np.array_equal(kernel, nearest):
            continue
        if not project:
            norm = np.linalg.norm(kernel.astype(np.float64), 2)
            bound = contraction / lipschitz(cell.activation)
            raise ValueError(
                f"The recurrent kernel of {old.name!r} must have a spectral norm of at most "
                f"{bound:.6g}; it has {norm:.6g}. Pass project=True to project it. "
                f"Received: contraction={contraction}"
            )
        cell.recurrent_kernel.assign(nearest)
