"""A recurrent model as a pure function (x, state) -> (y, state)."""

from rnnzoo.streaming._explicit_state import ExplicitState, explicit_state

__all__ = ["ExplicitState", "explicit_state"]
