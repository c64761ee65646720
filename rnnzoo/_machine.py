"""The machine and the process: cores, memory, versions, and imports that are quiet or put off."""

import contextlib
import importlib
import importlib.metadata
import os
import pathlib
import platform
import sys


def available():
    """The numbers of the cores that this process may use, in order.

    Where the system does not tell, as many as there are in all.
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def import_tensorflow():
    """Import TensorFlow without the notes that its C++ side prints whatever the log level is.

    For commands: a library leaves what is printed to its user.
    """
    if "tensorflow" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        return
    with contextlib.ExitStack() as stack, open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        stack.callback(os.close, kept)
        stack.callback(os.dup2, kept, 2)
        os.dup2(nowhere.fileno(), 2)
        import keras  # noqa: F401


def lazy(package, names):
    """`(__getattr__, __dir__)` of a package whose names arrive on first use (PEP 562).

    Args:
        package: The package's `__name__`.
        names: `{public name: module of the package that has it}`; the value None stands for a
            module of that name.
    """

    def get(name):
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if names[name] is None:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    def listed():
        return sorted({*vars(sys.modules[package]), *names})

    return get, listed


def version(package):
    """The version of a package: of what is imported, else of what is installed, or None."""
    imported = getattr(sys.modules.get(package), "__version__", None)
    if imported is not None:
        return str(imported)
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions():
    """The versions that a result depends on."""
    import rnnzoo

    used = {name: version(name) for name in ("keras", "tensorflow", "numpy")}
    return {"python": platform.python_version(), "rnnzoo": rnnzoo.__version__, **used}


def hardware():
    """The processor, the cores this process may use, the memory, and the GPUs TensorFlow sees."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "cpu": processor(),
        "cores": len(available()),
        "memory_gib": round(memory_bytes() / 2**30, 1) if memory_bytes() else None,
        "gpus": gpus,
    }


def processor():
    """The processor's name, or its kind where the system does not tell the name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def processor_flags():
    """What the processor can do, as the system calls it: avx2, avx512f, ..."""
    return (_cpuinfo("flags") or "").split()


def _cpuinfo(field):
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)


def memory_bytes():
    """The machine's memory; 0 where the system does not tell."""
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
