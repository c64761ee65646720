"""rnnzoo: recurrent models for Keras that are stable, long-remembering, truncatable and servable.

Names load on first use, so that ``import rnnzoo`` (and ``rnnzoo --help``) costs nothing. What may
stand in a file of Keras's (layers, metrics, losses, schedules, ...) is registered at once where
keras is already imported, and else as soon as it is: so `keras.models.load_model` finds it,
whichever of the two was imported first.
"""

import importlib
import importlib.abc
import sys
import threading

from rnnzoo import _machine

__version__ = "0.1.0"

_NAMES = {
    "ExplicitState": "streaming",
    "TruncatedBPTT": "training",
    "certify": "certificates",
    "convert": "checkpoints",
    "explicit_state": "streaming",
    "export_model": "export",
    "list_presets": "presets",
    "load": "presets",
    "load_check": "export",
    "load_weights": "checkpoints",
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
    "training.optimizers",
    "training.schedules",
    "training.truncated_bptt",
)

__all__ = [
    "ExplicitState",
    "TruncatedBPTT",
    "__version__",
    "certificates",
    "certify",
    "convert",
    "diagnostics",
    "explicit_state",
    "export",
    "export_model",
    "initializers",
    "layers",
    "list_presets",
    "load",
    "load_check",
    "load_weights",
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
    """Registers at the end of the first `import keras`, and is gone then.

    Where a module of this package is what imports keras, registering waits for the end of that
    module's own import, because what is registered may need it whole.
    """

    def __init__(self):
        self._lock, self._importing, self._waits, self._registering = threading.Lock(), 0, False, 0

    def find_spec(self, name, path=None, target=None):
        if name != "keras" and not name.startswith("rnnzoo."):
            return None
        others = [f for f in sys.meta_path if f is not self and hasattr(f, "find_spec")]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Watched(spec.loader, self)
        return spec

    def run(self, load, module):
        """Run a module by `load(module)`: keras, or one of this package."""
        here = threading.get_ident()
        with self._lock:
            self._importing += 1
            if self._registering not in (0, here):
                # A thread at the end of `import keras` registers, and may come to wait for this
                # module, which must not wait for that end: keras is whole.
                sys.modules["keras"].__spec__._initializing = False
        try:
            load(module)
            if module.__name__ == "keras":
                # With another backend than TensorFlow our layers say so when they are used.
                self._waits = module.backend.backend() == "tensorflow"
                if not self._waits:
                    self._leave()
        finally:
            with self._lock:
                self._importing -= 1
                now = self._waits and not self._importing
                if now:
                    self._waits, self._registering = False, here
            if now:
                try:
                    _register()
                finally:
                    self._leave()

    def _leave(self):
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _Watched:
    """A module's loader until the module is loaded, which leaves the module its own."""

    def __init__(self, loader, finder):
        self._loader, self._finder = loader, finder

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        self._finder.run(self._loader.exec_module, module)

    def __getattr__(self, name):
        return getattr(self._loader, name)


if "keras" in sys.modules:
    _register()
else:
    # One finder, also where this module is run again.
    sys.meta_path[:] = [f for f in sys.meta_path if type(f).__module__ != __name__]
    sys.meta_path.insert(0, _WhenKerasComes())
