"""What stands around an exported model when it is served: client, local server, warm-up.

Names load on first use: a client over REST needs no TensorFlow, one over gRPC the `serving` extra.
"""

import importlib

_NAMES = {"Server": "server", "ServingError": "errors", "Stream": "client"}

__all__ = ["Server", "ServingError", "Stream"]


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(f"rnnzoo.serving.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'rnnzoo.serving' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
