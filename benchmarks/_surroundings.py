"""What a result was measured on, without naming the machine or its folders."""

import datetime
import os
import pathlib
import platform
import sys

import rnnzoo
from rnnzoo import _machine

PACKAGES = ("tensorflow", "keras", "torch", "jax", "jaxlib", "numpy")


def describe():
    cores = len(_machine.available())
    return {
        "cpu": _machine.processor(),
        "vector_extensions": [
            f for f in ("avx2", "avx512f", "amx_tile") if f in _machine.processor_flags()
        ],
        "cores": cores,
        "threads": f"{cores} for each library, its default",
        "memory_gb": round(_machine.memory_bytes() / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            "rnnzoo": rnnzoo.__version__,
            **{name: _machine.version(name) for name in PACKAGES},
        },
        "date": datetime.date.today().isoformat(),
    }


def load():
    """Processes running or waiting, on average over the last minute; None where unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def without_paths(text):
    """`text` with this machine's folders cut out, so that a result names none."""
    root = pathlib.Path(__file__).resolve().parent.parent
    folders = {str(root), sys.prefix, sys.base_prefix, str(pathlib.Path.home())}
    for folder in sorted(folders, key=len, reverse=True):  # one may lie in another
        text = text.replace(f"{folder}{os.sep}", "")
    return " ".join("…" if word.strip("'\"(").startswith("/") else word for word in text.split())
