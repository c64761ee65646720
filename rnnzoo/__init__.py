"""rnnzoo: recurrent models for Keras that are stable, long-remembering, truncatable and servable.

Names load on first use, so that ``import rnnzoo`` (and ``rnnzoo --help``) costs nothing; where
keras is already imported, the layers are registered at once, so that ``import keras, rnnzoo``
followed by `keras.models.load_model` finds them.
"""

import importlib
import sys

__version__ = "0.1.0"

_SUBMODULES = (
    "certificates",
    "diagnostics",
    "export",
    "initializers",
    "layers",
    "presets",
    "recurrences",
    "serving",
    "streaming",
    "tasks",
    "training",
)
_NAMES = {
    "ExplicitState": "streaming",
    "explicit_state": "streaming",
    "stack": "models",
    "certify": "certificates",
    "truncate": "certificates",
    "verify": "certificates",
    "TruncatedBPTT": "training",
    "load": "presets",
    "list_presets": "presets",
}

__all__ = [
    "ExplicitState",
    "TruncatedBPTT",
    "__version__",
    "certificates",
    "certify",
    "diagnostics",
    "explicit_state",
    "export",
    "initializers",
    "layers",
    "list_presets",
    "load",
    "presets",
    "recurrences",
    "serving",
    "stack",
    "streaming",
    "tasks",
    "training",
    "truncate",
    "verify",
]


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(f"rnnzoo.{_NAMES[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"rnnzoo.{name}")
    raise AttributeError(f"module 'rnnzoo' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


if "keras" in sys.modules:
    importlib.import_module("rnnzoo.layers")
    importlib.import_module("rnnzoo.training")
