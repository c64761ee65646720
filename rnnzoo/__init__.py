"""rnnzoo: recurrent models for Keras that are stable, long-remembering, truncatable and servable.

Names load on first use, so that ``import rnnzoo`` (and ``rnnzoo --help``) costs nothing. What may
stand in a file of Keras's (layers, metrics, losses, schedules, ...) is registered at once where
keras is already imported, and else as soon as it is: so `keras.models.load_model` finds it,
whichever of the two was imported first.
"""

import importlib
import importlib.abc
import importlib.util
import sys

from rnnzoo import _machine

__version__ = "0.1.0"

_NAMES = {
    "ExplicitState": "streaming",
    "TruncatedBPTT": "training",
    "certify": "certificates",
    "explicit_state": "streaming",
    "export_model": "export",
    "list_presets": "presets",
    "load": "presets",
    "load_check": "export",
    "stack": "models",
    "truncate": "certificates",
    "verify": "certificates",
    **dict.fromkeys(
        (
            "certificates",
            "diagnostics",
            "export",
            "initializers",
            "layers",
            "metrics",
            "models",
            "presets",
            "recurrences",
            "serving",
            "streaming",
            "tasks",
            "training",
            "zoo",
        )
    ),
}
_REGISTERED = (
    "initializers",
    "layers",
    "layers.constraints",
    "metrics",
    "streaming._layers",
    "training.schedules",
    "training.truncated_bptt",
)

__all__ = [
    "ExplicitState",
    "TruncatedBPTT",
    "__version__",
    "certificates",
    "certify",
    "diagnostics",
    "explicit_state",
    "export",
    "export_model",
    "initializers",
    "layers",
    "list_presets",
    "load",
    "load_check",
    "metrics",
    "models",
    "presets",
    "recurrences",
    "serving",
    "stack",
    "streaming",
    "tasks",
    "training",
    "truncate",
    "verify",
    "zoo",
]

__getattr__, __dir__ = _machine.lazy(__name__, _NAMES)


def _register():
    """Import every module that has a class which may stand in a file of Keras's."""
    for name in _REGISTERED:
        importlib.import_module(f"rnnzoo.{name}")


class _WhenKerasComes(importlib.abc.MetaPathFinder):
    """Registers at the end of the first `import keras`, and is gone then."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module):
            run(module)
            # With another backend than TensorFlow our layers say so themselves, when they are used.
            if module.backend.backend() == "tensorflow":
                _register()

        spec.loader.exec_module = run_and_register
        return spec


if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _WhenKerasComes())
