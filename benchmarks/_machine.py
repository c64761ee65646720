"""What a result was measured on, without naming the machine or its folders."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import sys

PACKAGES = ("tensorflow", "keras", "torch", "jax", "jaxlib", "numpy")


def describe():
    import rnnzoo
    from rnnzoo import _cores

    cores = len(_cores.available())
    return {
        "cpu": cpu_model(),
        "vector_extensions": [f for f in ("avx2", "avx512f", "amx_tile") if f in cpu_flags()],
        "cores": cores,
        "threads": f"{cores} for each library, its default",
        "memory_gb": round(memory_bytes() / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            "rnnzoo": rnnzoo.__version__,
            **{name: version(name) for name in PACKAGES},
        },
        "date": datetime.date.today().isoformat(),
    }


def load():
    """Processes running or waiting, on average over the last minute; None where unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpuinfo(field):
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)


def cpu_model():
    return _cpuinfo("model name") or platform.processor() or "unknown"


def cpu_flags():
    return (_cpuinfo("flags") or "").split()


def memory_bytes():
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return 0


def available_bytes():
    """Memory that a program can take now without swapping; all of it where unknown."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return memory_bytes()
    return next(int(li.split()[1]) * 1024 for li in lines if li.startswith("MemAvailable:"))


def without_paths(text):
    """`text` with this machine's folders cut out, so that a result names none."""
    root = pathlib.Path(__file__).resolve().parent.parent
    folders = {str(root), sys.prefix, sys.base_prefix, str(pathlib.Path.home())}
    for folder in sorted(folders, key=len, reverse=True):  # one may lie in another
        text = text.replace(f"{folder}{os.sep}", "")
    return " ".join("…" if word.strip("'\"(").startswith("/") else word for word in text.split())
