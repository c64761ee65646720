"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import rnnzoo

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(rnnzoo.__path__, "rnnzoo.")
    if not info.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


def test_every_public_layer_and_function_has_an_example():
    public = [getattr(rnnzoo.layers, name) for name in rnnzoo.layers.__all__]
    public += [
        rnnzoo.TruncatedBPTT,
        rnnzoo.explicit_state,
        rnnzoo.load,
        rnnzoo.export_model,
        rnnzoo.stack,
    ]
    for thing in public:
        assert ">>> " in thing.__doc__, thing.__name__
