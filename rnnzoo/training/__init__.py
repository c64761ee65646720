"""Training steps and callbacks for recurrent models."""

from rnnzoo.training.hdetach_annealing import HDetachAnnealing
from rnnzoo.training.resumable import NonFiniteLossError, fit_resumable
from rnnzoo.training.truncated_bptt import TruncatedBPTT

__all__ = ["HDetachAnnealing", "NonFiniteLossError", "TruncatedBPTT", "fit_resumable"]
