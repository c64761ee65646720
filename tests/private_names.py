"""Private names: those of Keras's and TensorFlow's classes, and those that sources use."""

import ast
import collections
import inspect
import textwrap

import keras
import tensorflow as tf

FOREIGN = ("keras", "tensorflow")
_GETTERS = ("getattr", "setattr", "hasattr", "delattr")


def is_private(name):
    return name.isidentifier() and name.startswith("_") and not name.endswith("__")


def names_of(cls):
    """The private names that the Keras and TensorFlow classes among a class's bases have.

    In their bodies, and set on instances wherever in their methods.
    """
    found = set()
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in FOREIGN:
            found |= {name for name in vars(base) if is_private(name)}
            found |= _set_in_methods(base)
    return found


def _set_in_methods(cls, known={}):  # noqa: B006 - a cache
    if cls not in known:
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError):  # made in C++
            return set()
        known[cls] = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and is_private(node.attr)
        }
    return known[cls]


def foreign_names():
    """`{private name: a class that has it}` of everything that this package handles."""
    spaces = (
        keras.layers,
        keras.optimizers,
        keras.metrics,
        keras.losses,
        keras.callbacks,
        keras.constraints,
        keras.initializers,
        keras.optimizers.schedules,
    )
    classes = {c for space in spaces for c in vars(space).values() if inspect.isclass(c)}
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(1)(inputs)
    model = keras.Model(inputs, outputs)
    (node,) = [n for nodes in vars(model)["_nodes_by_depth"].values() for n in nodes][:1]
    concrete = tf.function(lambda: tf.constant(1.0)).get_concrete_function()
    distribute = tf.distribute.OneDeviceStrategy("CPU:0").distribute_datasets_from_function
    shared = distribute(lambda _: tf.data.Dataset.range(1))
    made = (model, inputs, node, concrete, concrete.graph, shared)
    made += (tf.constant(1.0), tf.Variable(1.0))
    classes |= {type(one) for one in made}
    classes |= {keras.Sequential, keras.Variable, keras.random.SeedGenerator, tf.data.Dataset}
    classes |= {tf.distribute.Strategy, tf.GradientTape}
    found = collections.defaultdict(str)
    for cls in sorted(classes, key=lambda cls: cls.__name__):
        for name in names_of(cls):
            found[name] = found[name] or cls.__name__
    return dict(found)


def foreign_imports(tree):
    """`(line, what)` of imports and strings that go past the public modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if all(p.isidentifier() for p in node.value.split(".")) else []
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        yield from ((node.lineno, name) for name in names if _is_inside(name))


def _is_inside(name):
    first, *rest = name.split(".")
    if first not in ("keras", "tensorflow", "tf") or not rest:
        return False
    hidden = rest[0].startswith("_") and rest[0] != "__version__"
    return hidden or rest[0] in ("src", "python", "core", "compiler")


def uses(tree):
    """`(line, class or None, name, on itself)` of every private name that is used or defined.

    The class is the one around it, as a name; on itself: `self._x`, `cls._x`, `super()._x`, or a
    definition in the class's body.
    """
    yield from _uses(tree, None)


def _uses(node, cls):
    if isinstance(node, ast.ClassDef):
        cls = node.name
        yield from ((node.lineno, cls, name, True) for name in _in_body(node))
    for name, itself in _used_by(node):
        if is_private(name):
            yield node.lineno, cls, name, itself
    for child in ast.iter_child_nodes(node):
        # What an f-string has after a value is no name, but the end of one.
        if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
            yield from _uses(child, cls)


def _in_body(node):
    """The private names that a class's body defines."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef):
            names = [child.name]
        elif isinstance(child, ast.Assign):
            names = [target.id for target in child.targets if isinstance(target, ast.Name)]
        else:
            continue
        yield from filter(is_private, names)


def _used_by(node):
    if isinstance(node, ast.Attribute):
        yield node.attr, _is_itself(node.value)
    elif isinstance(node, ast.Call) and len(node.args) > 1:
        if isinstance(node.func, ast.Name) and node.func.id in _GETTERS:
            name = _text(node.args[1])
            yield name, _is_itself(node.args[0]) and "{" not in name
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value, False


def _text(node):
    """A string; of an f-string what it begins with, of anything else nothing."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0] if node.values else node
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_itself(node):
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def defined(tree):
    """Every name that a source defines: functions, classes, attributes that it sets, variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
