"""Public functions and methods say the types of what they take and give."""

import importlib
import inspect
import pathlib

import pytest

import rnnzoo

ROOT = pathlib.Path(rnnzoo.__file__).parent
FACES = [
    *sorted(f"rnnzoo.{path.parent.name}" for path in ROOT.glob("[a-z]*/__init__.py")),
    *("rnnzoo.activations", "rnnzoo.graphs", "rnnzoo.initializers", "rnnzoo.zoo"),
]


def public(face):
    """The functions of a face, and the methods that its classes add to Keras's."""
    module = importlib.import_module(face)
    names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
    for name in names:
        value = getattr(module, name)
        if not getattr(value, "__module__", "").startswith("rnnzoo"):
            continue
        if inspect.isfunction(value):
            yield f"{face}.{name}", value
        elif inspect.isclass(value):
            for method, function in vars(value).items():
                inherited = any(hasattr(base, method) for base in value.__mro__[1:])
                function = getattr(function, "__func__", function)
                own = inspect.isfunction(function) and method[0] != "_" and not inherited
                if own or (method == "__init__" and inspect.isfunction(function)):
                    yield f"{face}.{name}.{method}", function


FUNCTIONS = dict(pair for face in FACES for pair in public(face))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_results_have_types(name):
    signature = inspect.signature(FUNCTIONS[name])
    bare = [
        p.name
        for p in signature.parameters.values()
        if p.annotation is p.empty and p.name not in ("self", "cls")
    ]
    assert not bare
    assert name.endswith("__init__") or signature.return_annotation is not signature.empty
