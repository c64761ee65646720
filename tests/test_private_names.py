"""Private names of Keras and TensorFlow are used behind one door, read from the sources."""

import ast
import importlib
import pathlib

import private_names
import pytest

import rnnzoo

ROOT = pathlib.Path(rnnzoo.__file__).parent
BENCHMARKS = ROOT.parent / "benchmarks"
DOOR = ROOT / "_keras"
# Private names of others than Keras and TensorFlow, and of ours where they look like theirs.
EXCUSED = {
    "_exit": "os._exit: the end of a process whatever its threads do",
    "_fields": "the names of a NamedTuple, whose underscore keeps them apart from its fields",
}


def sources(root):
    paths = sorted(root.rglob("*.py"))
    return [path for path in paths if DOOR not in path.parents]


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


FOREIGN = private_names.foreign_names()
OWN = {
    n
    for root in (ROOT, BENCHMARKS)
    for p in sources(root)
    for n in (*private_names.defined(tree_of(p)), p.stem)
}
MODULES = [path for root in (ROOT, BENCHMARKS) for path in sources(root)]


def class_of(path, name):
    """The class of that name at the top of a module, else None."""
    if name is None or ROOT.parent not in path.parents:
        return None
    module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    module = importlib.import_module(module.removesuffix(".__init__"))
    found = getattr(module, name, None)
    return found if isinstance(found, type) else None


def faults(path):
    """What a source does that it must not, one sentence each."""
    tree = tree_of(path)
    for line, name in private_names.foreign_imports(tree):
        yield f"{path.name}:{line} goes inside of {name}"
    for line, around, name, itself in private_names.uses(tree):
        at = f"{path.name}:{line} `{name}`"
        cls = class_of(path, around) if itself and name in FOREIGN else None
        if name in EXCUSED:
            continue
        if cls is not None and name in private_names.names_of(cls):
            yield f"{at} is a name of the bases of {cls.__name__} in Keras or TensorFlow"
        elif cls is None and name in FOREIGN:
            yield f"{at} is a private name of {FOREIGN[name]}"
        elif name not in OWN:
            yield f"{at} is defined nowhere here"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: "/".join(p.parts[-2:]))
def test_no_private_name_of_keras_or_tensorflow(path):
    assert list(faults(path)) == []


def test_the_names_are_those_of_the_real_classes():
    """Some of every kind: of methods, of instances, of graphs, of tensors, of TensorFlow's."""
    for name in (
        "_keras_history",
        "_functional",
        "_nodes_by_depth",
        "_inbound_nodes",
        "_run_through_graph",
        "_call_has_training_arg",
        "_tracker",
        "_dropout_mask",
        "_direction",
        "_loss_tracker",
        "_distribute_strategy",
        "_autocast",
        "_momentums",
        "_all_reduce_sum_gradients",
        "_cardinality",
    ):
        assert name in FOREIGN, name
    assert len(FOREIGN) > 500


@pytest.mark.parametrize(
    "source",
    [
        "import keras.src.backend",
        "from keras.src import backend",
        "from keras import src",
        "import tensorflow.python.eager.context",
        "from tensorflow.core.framework import types_pb2",
        "import importlib\nimportlib.import_module('keras.src.backend')",
        "tf.python.ops",
        "tf.__internal__.decorator",
        "layer._inbound_nodes[0]",
        "getattr(cell, '_dropout_mask', None)",
        "setattr(cell, f'_dropout_{name}', 1)",
        "vars(optimizer)['_all_reduce_sum_gradients'] = None",
        "name = '_keras_history'",
        "tensor._no_name_of_ours",
        "class Ours(Theirs):\n    def _set_mask_metadata(self): ...",
        "class Ours(Theirs):\n    def f(self):\n        return self._losses",
    ],
)
def test_the_faults_are_found(source, tmp_path):
    path = tmp_path / "source.py"
    path.write_text(source)
    assert list(faults(path))


def test_names_of_our_own_are_no_faults(tmp_path):
    path = tmp_path / "source.py"
    path.write_text("from rnnzoo import _keras\nx = f'{name}_kernel'\n'''_losses of a layer'''\n")
    assert list(faults(path)) == []


def test_bases_in_keras_may_not_be_overridden():
    """The check of a class against its own bases: a wrapper's `_dropout` is free, an RNN's not."""
    causal = importlib.import_module("rnnzoo.layers._causal").CausalCell
    assert "_dropout" in FOREIGN
    assert "_dropout" not in private_names.names_of(causal)
    assert "_losses" in private_names.names_of(causal)


def test_every_excuse_is_needed():
    used = {name for path in MODULES for *_, name, _ in private_names.uses(tree_of(path))}
    assert set(EXCUSED) <= used
