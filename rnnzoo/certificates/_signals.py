"""What is known of a sequence between two layers: how large it is, and how far two models differ.

All bounds are float64 numbers, rounded up: a product or sum of non-negative numbers is off by less
than one rounding a term, which `up` adds with room to spare.
"""

import dataclasses
import functools
import math

import numpy as np

EPSILON = float(np.finfo(np.float64).eps)


class NoBound(Exception):
    """A layer for which nothing can be promised; the message is the reason."""


def up(value, terms=1):
    """`value`, a sum of so many non-negative terms, rounded up."""
    return value * (1.0 + (4.0 * terms + 16.0) * EPSILON)


def times(factor, value):
    """A product of bounds, in which 0 times infinity (of an unknown size) is 0."""
    return 0.0 if factor == 0.0 or value == 0.0 else up(factor * value)


def plus(*values):
    return up(math.fsum(values)) if all(map(math.isfinite, values)) else math.inf


@dataclasses.dataclass(frozen=True)
class Norms:
    """Bounds of a vector's sup-norm and of its 2-norm, for every row and time step."""

    sup: float
    two: float

    @classmethod
    def of(cls, sup, two, features):
        """Each bound is also the better one of the other norm's: sup <= two <= sqrt(n) sup."""
        sup, two = float(sup), float(two)
        widest = math.inf if features is None else math.sqrt(features)
        return cls(min(sup, two), min(two, times(up(widest), sup)))


ZERO = Norms(0.0, 0.0)
UNKNOWN = Norms(math.inf, math.inf)


class Signal:
    """A sequence `[B, T, features]` (or `[B, features]`) in both models, recurrent and truncated.

    Args:
        features: the size of the last axis, or None.
        size: `Norms` of the sequence in either model.
        error: a function of k that gives the `Norms` of the difference; None where there is none,
            because no recurrent layer comes before.
    """

    def __init__(self, features, size, error=None):
        self.features, self.size = features, size
        self.exact = error is None
        # Branches of a model may meet again: each error is computed once for a k.
        self.error = functools.lru_cache(None)(self._within(error)) if error else lambda k: ZERO

    def _within(self, error):
        """Two sequences of one size differ by at most twice that."""

        def smaller(k):
            e, size = error(k), self.size
            return Norms(min(e.sup, 2.0 * size.sup), min(e.two, 2.0 * size.two))

        return smaller

    def mapped(self, features, size, error):
        """The signal after a layer that takes the error's `Norms` to `error(norms)`."""
        if self.exact:
            return Signal(features, size)
        return Signal(features, size, lambda k: error(self.error(k)))


def geometric(rate, k):
    """An upper bound of the sum of `rate ** j` over j < k; k None: over all j."""
    if k is None:
        return up(1.0 / (1.0 - rate)) if rate < 1.0 else math.inf
    if rate == 1.0:
        return float(k)
    if rate == 0.0:
        return 1.0
    with np.errstate(over="ignore"):
        total = np.expm1(k * math.log(rate)) / (rate - 1.0)
    return float(min(total * (1.0 + 1e-12), geometric(rate, None)))


def power(rate, k):
    """An upper bound of `rate ** k`; the slack covers what the logarithm loses, up to e^-700."""
    with np.errstate(over="ignore", under="ignore"):
        value = float(np.power(np.float64(rate), k)) * (1.0 + 1e-12)
    return value if rate == 0.0 else value + float(np.finfo(np.float64).tiny)
