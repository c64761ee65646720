"""A model's graph, run on what is known of its signals instead of on tensors."""

import math

import keras
import numpy as np

from rnnzoo.certificates._pointwise import OPERATIONS, RULES
from rnnzoo.certificates._recurrent import analysis
from rnnzoo.certificates._signals import UNKNOWN, NoBound, Norms, Signal, plus, up
from rnnzoo.certificates._weights import check_arithmetic
from rnnzoo.graphs import (
    calls,
    feeds_embedding,
    functional_of,
    hidden_recurrence,
    is_recurrence,
)
from rnnzoo.streaming._time_local import why_not


class Step:
    """One call of a layer. `lemma` is its analysis where it is recurrent, `lipschitz` its constant
    (for the inputs, where it is recurrent), `reason` why there is none; `known`: whether the size
    of its inputs is.
    """

    def __init__(self, layer, lemma=None, lipschitz=None, reason=None, known=True):
        self.layer, self.lemma, self.lipschitz = layer, lemma, lipschitz
        self.reason, self.known = reason, known


# An error so small that no size of a signal caps it: what it grows to, divided by it, is exact.
SMALL = 2.0**-200
UNIT = Norms(SMALL, SMALL)


class Walk:
    """The signals of `model` for inputs of at most `input_bound` (None: not known).

    Attributes: `steps`, one for each call of a layer that an error reaches or that is recurrent;
    `outputs`, the `Signal` of each of the model's outputs.
    """

    def __init__(self, model, input_bound):
        self.steps = []
        functional = functional_of(model)
        inputs = [self._input(functional, tensor, input_bound) for tensor in functional.inputs]
        self.outputs = self._run(functional, inputs)

    def _input(self, functional, tensor, bound):
        # The bound is one of features; tokens are none, and what embeds them knows its own size.
        if bound is None or feeds_embedding(functional, tensor):
            bound = math.inf
        return Signal(tensor.shape[-1], Norms.of(bound, math.inf, tensor.shape[-1]))

    def _run(self, functional, inputs):
        signals = {id(tensor): signal for tensor, signal in zip(functional.inputs, inputs)}
        for node in calls(functional):
            args, kwargs = node.arguments.fill_in(signals)
            made = self._call(node.operation, args, kwargs, node.outputs)
            signals.update({id(t): s for t, s in zip(node.outputs, made)})
        return [signals[id(tensor)] for tensor in functional.outputs]

    def _call(self, operation, args, kwargs, outputs):
        given = keras.tree.flatten((args, {k: v for k, v in kwargs.items() if k != "mask"}))
        signals = [value for value in given if isinstance(value, Signal)]
        try:
            if kwargs.get("training"):
                raise NoBound("the model itself runs it in training mode")
            masks = [m for m in keras.tree.flatten(kwargs.get("mask")) if isinstance(m, Signal)]
            if not all(mask.exact for mask in masks):
                raise NoBound("an error may change its mask")
            if isinstance(operation, (keras.Sequential, keras.Model)):
                return self._run(functional_of(operation), signals)
            if is_recurrence(operation):
                made = self._recurrent(operation, args, kwargs, signals)
            else:
                made = self._pointwise(operation, args, kwargs, signals, outputs)
        except NoBound as reason:
            known = all(math.isfinite(signal.size.sup) for signal in signals)
            self.steps.append(Step(operation, reason=str(reason), known=known))
            return [Signal(_features(t), UNKNOWN, lambda k: UNKNOWN) for t in outputs]
        return [made] if isinstance(made, Signal) else made

    def _recurrent(self, layer, args, kwargs, signals):
        if len(args) > 1 or kwargs.get("initial_state") is not None:
            raise NoBound("the model itself gives it an initial state")
        if layer.stateful:
            raise NoBound("stateful=True carries its state from call to call")
        if layer.return_state:
            raise NoBound("return_state=True makes outputs of its states")
        (signal,) = signals
        lemma = analysis(layer, signal.size)

        def error(k):
            cut, moved = lemma.decay(k), lemma.response(k, signal.error(k))
            both = plus(cut.sup, moved.sup), plus(cut.two, moved.two)
            return Norms.of(*both, lemma.units)

        unit = lemma.response(None, UNIT)
        lipschitz = (unit.two if lemma.norm == "2" else unit.sup) / SMALL
        known = math.isfinite(signal.size.sup)
        self.steps.append(Step(layer, lemma, lipschitz, known=known))
        return Signal(lemma.units, lemma.size, error)

    def _pointwise(self, operation, args, kwargs, signals, outputs):
        is_layer = isinstance(operation, keras.layers.Layer)
        if not isinstance(operation, keras.layers.RNN) and hidden_recurrence(operation):
            raise NoBound("it holds a recurrent layer that cannot be reached from outside")
        rule = RULES.get(type(operation)) if is_layer else OPERATIONS.get(type(operation).__name__)
        exact = all(signal.exact for signal in signals)
        try:
            if rule is None:
                reason = why_not(operation, outputs) if outputs[0].ndim > 2 else None
                raise NoBound(reason or "it has no known Lipschitz constant")
            if is_layer:
                check_arithmetic(operation)
            if type(operation) is not keras.layers.Embedding and None in [
                signal.features for signal in signals
            ]:
                raise NoBound("the size of the last axis of its inputs is not known")
            if not is_layer:
                signals = _operands(args, kwargs, signals)
            made = rule(operation, signals, outputs[0].shape)
        except NoBound:
            # What no error reaches is the same in both models; only its size is not known.
            if not exact:
                raise
            return [Signal(_features(t), UNKNOWN) for t in outputs]
        if not exact and is_layer:
            lipschitz = None
            if len(signals) == 1:
                unit = Signal(signals[0].features, UNKNOWN, lambda k: UNIT)
                lipschitz = rule(operation, [unit], outputs[0].shape).error(0).two / SMALL
            self.steps.append(Step(operation, lipschitz=lipschitz))
        return made


def _features(tensor):
    return tensor.shape[-1] if tensor.ndim else None


def _operands(args, kwargs, signals):
    """The operands of an operation; a number is a signal that has no error."""
    operands = [v for v in (*args, *kwargs.values()) if v is not None]
    width = signals[0].features
    for position, value in enumerate(operands):
        if isinstance(value, Signal):
            continue
        if not np.isscalar(value) or isinstance(value, (str, bool)):
            raise NoBound("one of its operands is neither a signal of the model nor a number")
        size = abs(float(value))
        operands[position] = Signal(width, Norms.of(size, up(size * math.sqrt(width)), width))
    return operands
