"""The cores that this process may use."""

import os


def available():
    """Their numbers, in order; where the system does not tell, as many as there are in all."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
