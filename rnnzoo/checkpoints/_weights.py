"""`load_weights`: a file of weights, read into a model that has the twins of the file's layers.

In such a file a layer of a container (a model's layers, the cells of a stack) stands under the name
of its class, numbered among those of the same class: ``layers/lstm_1/cell/vars/0``. A model that
differs in nothing but `HDetachLSTM` for `LSTM` therefore finds nothing under its own path. Here the
layers of both classes are one family, and its members correspond by their order.
"""

from __future__ import annotations

import os
import re

import h5py
import keras

from rnnzoo import _keras
from rnnzoo._files import CheckpointError, as_path, first_line
from rnnzoo.checkpoints._twins import FILE_NAMES

_FAMILIES = {name: names[0] for names in FILE_NAMES for name in names}


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Load a ``.weights.h5`` file into a model, from a twin's layers too.

    The file may have been written by the same model, or by one that has `keras.layers.LSTM` where
    this one has `HDetachLSTM` or the other way round, `SimpleRNN` for `StableRNN`, `SimpleRNNCell`
    for `StableRNNCell`; in nested models and wrappers too. It is compared with the whole model
    first, so a file that does not fit changes nothing. Weights are taken as they are, also by a
    `StableRNN`, whose `contraction()` says what they give.

    Keras's own ``model.load_weights`` reads such files where no path has the name of a class that
    differs: inside of `Bidirectional` and `TimeDistributed`, and from attributes of subclassed
    models.

    Args:
        model: A built `keras.Model`.
        path: The file; its name ends in ``.weights.h5``.

    Raises:
        TypeError: `model` is no `keras.Model`, or `path` no path.
        ValueError: The model is not built, or the name of the file ends otherwise.
        CheckpointError: The file is missing or damaged, or does not fit: a layer or weight that is
            not there, another shape (both paths and shapes are named), or twins in an order that
            the file does not tell.

    >>> import tempfile, keras
    >>> from rnnzoo.layers import HDetachLSTM
    >>> theirs = keras.Sequential([keras.Input([None, 3]), keras.layers.LSTM(4)])
    >>> ours = keras.Sequential([keras.Input([None, 3]), HDetachLSTM(4)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     theirs.save_weights(f"{folder}/lstm.weights.h5")
    ...     load_weights(ours, f"{folder}/lstm.weights.h5")
    >>> all((a == b).all() for a, b in zip(ours.get_weights(), theirs.get_weights()))
    True
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    path = as_path(path)
    if not path.name.endswith(".weights.h5"):
        raise ValueError(f"`path` must end in .weights.h5. Received: path={str(path)!r}")
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on data, or give it an Input, before its weights are "
            f"loaded. Received: model={model.name!r}"
        )
    parts = _keras.saved_parts(model)
    groups, shapes, names = _contents(path)
    renamed = _Renaming(path, parts, groups, names).of_parts()
    _check(path, model, parts, renamed, shapes)
    errors = _keras.load_renamed(model, path, renamed)
    if errors:
        raise CheckpointError(path, f"it does not fit the model: {first_line(errors[0])}")


def _contents(path):
    """What a file holds: `{group: names of groups in it}`, `{array: shape}`, `{group: name}`.

    Links are left out: Keras refuses them.
    """
    if not path.is_file():
        raise CheckpointError(path, "there is no such file.")
    groups, shapes, names = {"": []}, {}, {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            shapes[name] = tuple(item.shape)
            return
        parent, _, last = name.rpartition("/")
        groups[name] = []
        if last == "vars":
            names[parent] = item.attrs.get("name")
        else:
            groups[parent].append(last)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            path, f"it is no HDF5 file, or damaged: {first_line(error)}"
        ) from error
    return groups, shapes, names


def _family(name):
    """`("lstm", 1)` of `h_detach_lstm_1`: what the twins' names have in common, and the number."""
    base, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()
    return (_FAMILIES.get(base), int(number or 0))


class _Renaming:
    """Finds for each path of a model the path in a file that stands for the same."""

    def __init__(self, file, parts, groups, names):
        self._file, self._groups, self._names = file, groups, names
        self._own_names = {path: name for path, name, _ in parts}
        self._children = {}
        for path, _, _ in parts:
            pieces = path.split("/")
            for depth, piece in enumerate(pieces):
                children = self._children.setdefault("/".join(pieces[:depth]), [])
                if piece and piece not in children:
                    children.append(piece)

    def of_parts(self):
        """`{path in the model: path in the file}`, of every group on the way too."""
        renamed = {"": ""}

        def descend(own, theirs):
            named = self._name(own, theirs)
            for child in self._children.get(own, ()):
                below = f"{own}/{child}".lstrip("/")
                renamed[below] = f"{theirs}/{named.get(child, child)}".lstrip("/")
                descend(below, renamed[below])

        descend("", "")
        return renamed

    def _name(self, own, theirs):
        """`{child of a group of the model: child of the file's group}`, of the twins alone."""
        named = {}
        for family in sorted(set(_FAMILIES.values())):
            ours = [c for c in self._children.get(own, ()) if _family(c)[0] == family]
            found = [c for c in self._groups.get(theirs, ()) if _family(c)[0] == family]
            if set(ours) != set(found):
                named.update(self._matched(own, theirs, family, ours, found))
        return named

    def _matched(self, own, theirs, family, ours, found):
        if len(ours) != len(found):
            raise CheckpointError(
                self._file,
                f"it has {len(found)} layers of the kind {family!r} under {theirs or '/'!r}, "
                f"{sorted(found)}; the model has {len(ours)}, {ours}.",
            )
        if len({re.sub(r"_\d+$", "", name) for name in found}) == 1:
            return dict(zip(ours, sorted(found, key=lambda name: _family(name)[1])))
        # Both kinds of twins: their numbers say nothing about their order, but names may.
        by_name = {self._names.get(f"{theirs}/{name}".lstrip("/")): name for name in found}
        own_names = [self._own_names.get(f"{own}/{name}".lstrip("/")) for name in ours]
        if set(own_names) == set(by_name) and len(by_name) == len(ours):
            return {name: by_name[own_name] for name, own_name in zip(ours, own_names)}
        raise CheckpointError(
            self._file,
            f"it has {sorted(found)} under {theirs or '/'!r}, in an order that it does not tell; "
            f"the model has {ours}. Give the layers the names that they had: {sorted(by_name)}.",
        )


def _check(path, model, parts, renamed, shapes):
    """Refuse a file that lacks a weight of the model, has it in another shape, or has more."""
    weights = {id(weight) for weight in model.weights}
    for own, _, variables in parts:
        if not any(id(variable) in weights for variable in variables.values()):
            continue  # of the optimizer, or in a form of the layer's own: Keras's to judge
        here, there = (f"{part}/vars".lstrip("/") for part in (own, renamed[own]))
        for key, variable in variables.items():
            found = shapes.get(f"{there}/{key}")
            if found is None:
                raise CheckpointError(path, f"it has no {there}/{key}, the model's {here}/{key}.")
            if found != tuple(variable.shape):
                raise CheckpointError(
                    path,
                    f"{there}/{key} has the shape {found} in it; {here}/{key} has the shape "
                    f"{tuple(variable.shape)} in the model.",
                )
        more = {name.rpartition("/")[2] for name in shapes if name.rpartition("/")[0] == there}
        if more > set(variables):
            raise CheckpointError(
                path, f"it has {len(more)} weights in {there}; the model has {len(variables)}."
            )
