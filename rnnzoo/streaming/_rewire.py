"""A Functional model replayed with every recurrent state as an input and an output."""

import keras

from rnnzoo import _keras
from rnnzoo.graphs import feeds_embedding, functional_of
from rnnzoo.streaming._layers import CarryOutput, CellStep, Renamed, twin_of
from rnnzoo.streaming._states import output_size, output_state, state_dtype, state_suffixes
from rnnzoo.streaming._time_local import why_not, why_not_recurrent


class Rewiring:
    """One replay of `functional`: collects the state inputs, the final states and the outputs.

    The caller's `mask` reaches every recurrent layer, also behind a layer (`Embedding`) that drops
    masks.
    """

    def __init__(self, functional, time_local, masked, single_step):
        self.time_local, self.single_step = time_local, single_step
        self.used, self.passed = set(), []  # entries of time_local met, names of their layers
        self.state_inputs, self.state_outputs, self.calls = {}, {}, []
        self._twins, self._operations, self._renamed, self._calls = {}, {}, {}, {}
        self._time = _Marks()  # whether axis 1 of a symbolic tensor is the model's time
        self._foreign = _Marks()  # why a tensor may not become data: it may be part of a mask
        self._complete = _Marks()  # masks that the caller's is a part of
        self._reserved = {tensor.name for tensor in functional.inputs} | {"mask"}
        self.mask = self._mask_kept = None
        if masked:
            shape = () if single_step else (None,)
            self.mask = self._mask_kept = keras.Input(shape, dtype="bool", name="mask")
            if single_step:
                self._mask_kept = keras.ops.expand_dims(self.mask, 1)
        self.inputs = [self._input(functional, tensor) for tensor in functional.inputs]
        outputs = self._replay(functional, [self._enter(t) for t in self.inputs], "", None)
        self._refuse_foreign(outputs)
        self.input_has_time = [self._time.of(t) for t in self.inputs]
        self.output_has_time = [self._time.of(t) for t in outputs]
        if single_step:
            pairs = zip(outputs, self.output_has_time)
            outputs = [keras.ops.squeeze(t, 1) if timed else t for t, timed in pairs]
        self.outputs = outputs

    def _input(self, functional, tensor):
        """A new input whose batch and time are free; a single step has no time axis."""
        has_time = tensor.ndim > 2 or (
            tensor.ndim == 2 and (tensor.shape[1] is None or feeds_embedding(functional, tensor))
        )
        shape = tuple(tensor.shape[1:])
        if has_time:
            shape = shape[1:] if self.single_step else (None, *shape[1:])
        new = keras.Input(shape, dtype=tensor.dtype, name=tensor.name)
        self._time.mark(new, has_time)
        return new

    def _enter(self, tensor):
        has_time = self._time.of(tensor)
        if has_time and self.single_step:
            tensor = keras.ops.expand_dims(tensor, 1)
            self._time.mark(tensor, True)
        if has_time and self.mask is not None:
            _keras.set_mask(tensor, self._mask_kept)
        return tensor

    def _replay(self, functional, inputs, path, training):
        """Run the graph of `functional` on new symbolic tensors; returns its flat outputs."""

        def call(operation, *args, **kwargs):
            is_layer = isinstance(operation, keras.layers.Layer)
            if training is not None and is_layer and _keras.takes_training(operation):
                kwargs["training"] = training
            return self._call(operation, path, args, kwargs)

        return keras.tree.flatten(_keras.run_through_graph(functional, inputs, call))

    def _call(self, operation, path, args, kwargs):
        data = {k: v for k, v in kwargs.items() if k != "mask"}
        tensors = [t for t in keras.tree.flatten((args, data)) if keras.backend.is_keras_tensor(t)]
        times = [self._time.of(t, t.ndim > 1) for t in tensors]
        is_layer = isinstance(operation, keras.layers.Layer)
        if is_layer:
            kwargs = self._without_foreign_masks(operation, kwargs)
            self._refuse_foreign(tensors)
        if isinstance(operation, keras.layers.RNN):
            outputs = self._recurrent(operation, path, args, kwargs, times)
        elif self._named(operation) or not any(times):
            outputs = self._apply(operation, path, args, kwargs)
        elif isinstance(operation, (keras.Sequential, keras.Model)):
            return self._nested(operation, path, args, kwargs)
        else:
            reason = why_not(operation, tensors)
            if reason is None and not all(times):
                reason = "it joins a sequence with something that has no time axis"
            if reason and is_layer:
                refuse(operation, reason)
            outputs = self._apply(operation, path, args, kwargs)
            if reason or any(t in self._foreign for t in tensors):
                self._mark_foreign(outputs, tensors, operation, reason)
        for tensor in keras.tree.flatten(outputs):
            if tensor not in self._time:
                self._time.mark(tensor, any(times))
        return outputs

    def _refuse_foreign(self, tensors):
        """Refuse data that came through an operation which may not pass."""
        for tensor in tensors:
            if tensor in self._foreign:
                refuse(*self._foreign.of(tensor))

    def _mark_foreign(self, outputs, tensors, operation, reason):
        given = [self._foreign.of(t) for t in tensors if t in self._foreign]
        for tensor in keras.tree.flatten(outputs):
            self._foreign.mark(tensor, given[0] if given else (operation, reason))

    def _without_foreign_masks(self, operation, kwargs):
        """Drop a recorded mask made by unknown operations where the replay has made its own.

        Keras records the operations of `compute_mask` (say, of Concatenate) in the graph.
        """
        masks = [m for m in keras.tree.flatten(kwargs.get("mask")) if m in self._foreign]
        return {k: v for k, v in kwargs.items() if k != "mask"} if masks else kwargs

    def _named(self, operation):
        found = {n for n in self.time_local if n in (operation.name, type(operation))}
        self.used |= found
        if found:
            self.passed.append(operation.name)
        return bool(found)

    def _nested(self, model, path, args, kwargs):
        inner = functional_of(model)
        inputs = keras.tree.flatten(args[0] if args else kwargs["inputs"])
        masks = kwargs.get("mask")
        for tensor, mask in zip(inputs, [] if masks is None else keras.tree.flatten(masks)):
            if mask is not None:
                _keras.set_mask(tensor, mask)
        given = [_keras.mask_of(tensor) for tensor in inputs]
        outputs = self._replay(inner, inputs, f"{path}{model.name}_", kwargs.get("training"))
        if model.supports_masking and any(mask is not None for mask in given):
            self._hand_on(model, inputs, given, outputs)
        return keras.tree.pack_sequence_as(inner.output, outputs)

    def _hand_on(self, model, inputs, masks, outputs):
        """Give outputs that have lost their mask the one that the nested model says they have."""
        one = len(inputs) == 1
        made = model.compute_mask(inputs[0] if one else inputs, masks[0] if one else masks)
        for output, mask in zip(outputs, keras.tree.flatten(made)):
            if mask is not None and _keras.mask_of(output) is None:
                _keras.set_mask(output, mask)

    def _recurrent(self, layer, path, args, kwargs, times):
        reason = why_not_recurrent(layer)
        if reason is None and (len(args) > 1 or kwargs.get("initial_state") is not None):
            reason = "the model itself gives it an initial state"
        if reason is None and not all(times):
            reason = "its input does not run over the time of the model"
        if reason:
            refuse(layer, reason)
        sequences = args[0] if args else kwargs["sequences"]
        present = self._present(sequences, kwargs.get("mask"))
        names = self._state_names(layer, path)
        states = [self._state_input(*spec) for spec in names]
        if id(layer) not in self._twins:
            self._twins[id(layer)] = twin_of(layer, self._name_of(layer, path))
        twin = self._twins[id(layer)]
        self.calls.append((layer, [name for name, *_ in names]))
        own = len(keras.tree.flatten(layer.state_size))
        output, *final = self._run(twin, sequences, states[:own], present, kwargs.get("training"))
        previous = states[own] if len(states) > own else states[output_state(layer)]
        if (present is not None and not layer.zero_output_for_mask) or len(states) > own:
            marks = None if layer.zero_output_for_mask else present
            output, last = CarryOutput(dtype=layer.dtype_policy)(output, previous, present=marks)
            final += [last] * (len(states) - own)
        self.state_outputs.update(dict(zip((name for name, *_ in names), final)))
        if layer.activity_regularizer is not None:
            output = keras.layers.Identity(activity_regularizer=layer.activity_regularizer)(output)
        self._time.mark(output, layer.return_sequences)
        if not layer.return_state:
            return output
        for state in final[:own]:
            self._time.mark(state, False)
        return [output, *final[:own]]

    def _run(self, twin, sequences, states, present, training):
        arguments = {} if training is None else {"training": training}
        if self.single_step:
            return CellStep(twin)(sequences, states, present=present, **arguments)
        states = keras.tree.pack_sequence_as(twin.state_size, states)
        outputs = twin(sequences, initial_state=states, mask=present, **arguments)
        return keras.tree.flatten(outputs)

    def _present(self, sequences, mask):
        """The steps that happen: the mask that arrived and the caller's, together."""
        mask = keras.tree.flatten(mask)[0] if mask is not None else _keras.mask_of(sequences)
        if self._mask_kept is None or mask is self._mask_kept:
            return mask
        if mask is None:
            return self._mask_kept
        if mask in self._complete:
            return mask
        both = keras.ops.logical_and(mask, self._mask_kept)
        self._complete.mark(both, True)
        return both

    def _state_names(self, layer, path):
        """(name, size, dtype) of each state of this call of `layer`."""
        base = self._name_of(layer, path)
        count = self._calls[base] = self._calls.get(base, 0) + 1
        base = base if count == 1 else f"{base}_call{count}"
        sizes = keras.tree.flatten(layer.state_size)
        names = state_suffixes(layer)
        dtypes = [state_dtype(layer)] * len(sizes)
        if output_state(layer) is None:
            names, sizes = [*names, "output"], [*sizes, output_size(layer)]
            dtypes.append(layer.compute_dtype)
        return [(f"{base}_{n}", s, d) for n, s, d in zip(names, sizes, dtypes)]

    def _name_of(self, operation, path):
        """Its own name, or one made longer where another operation has that name already."""
        name = operation.name
        if self._operations.setdefault(name, operation) is not operation:
            name = f"{path}{name}"
            while self._operations.setdefault(name, operation) is not operation:
                name += "_"
        return name

    def _apply(self, operation, path, args, kwargs):
        name = self._name_of(operation, path)
        if name == operation.name:
            return operation(*args, **kwargs)
        if name not in self._renamed:
            self._renamed[name] = Renamed(operation, name=name)
        return self._renamed[name](*args, **kwargs)

    def _state_input(self, name, size, dtype):
        if name in self._reserved or name in self.state_inputs:
            raise ValueError(
                "The names of the states and of the inputs must differ. "
                f"Received: two named {name!r}; rename the layer or the input"
            )
        self.state_inputs[name] = keras.Input((size,), dtype=dtype, name=name)
        return self.state_inputs[name]


def refuse(operation, reason):
    kind = type(operation).__name__
    raise ValueError(
        f"A model with explicit state must hold recurrent layers, and between them layers that "
        f"act on each time step alone. {kind} {operation.name!r} may not pass: {reason}. If it "
        f"does act on each step alone, name it: time_local=[{operation.name!r}]"
    )


class _Marks:
    """What is known of symbolic tensors. It keeps them, so that no two have one identity."""

    def __init__(self):
        self._kept = {}

    def __contains__(self, tensor):
        return id(tensor) in self._kept

    def mark(self, tensor, value):
        self._kept[id(tensor)] = tensor, value

    def of(self, tensor, default=None):
        return self._kept.get(id(tensor), (tensor, default))[1]
