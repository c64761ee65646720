"""Training steps, callbacks, schedules, exact resume, and whole runs.

Names load on first use, because processes that only start others (`rnnzoo train --workers`) must
not load TensorFlow.
"""

from rnnzoo import _machine

_NAMES = {
    "GroupedAdamW": "optimizers",
    "HDetachAnnealing": "hdetach_annealing",
    "NonFiniteLossError": "resumable",
    "TruncatedBPTT": "truncated_bptt",
    "fit_resumable": "resumable",
    "schedules": None,
    "train": "_train",
}

__all__ = [
    "GroupedAdamW",
    "HDetachAnnealing",
    "NonFiniteLossError",
    "TruncatedBPTT",
    "fit_resumable",
    "schedules",
    "train",
]

__getattr__, __dir__ = _machine.lazy(__name__, _NAMES)
