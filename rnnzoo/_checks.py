"""Argument checks shared by the whole package.

Every check returns the value it was given (converted to the plain Python type) or raises with one
form of message: the argument, what is expected, and ``Received: name=value``. A wrong type is a
`TypeError`, a wrong value a `ValueError`. Nothing is clamped.
"""

import math
import numbers


def _received(name, value):
    return f"Received: {name}={value!r}"


def integer(name, value, minimum=1):
    """An integer of at least `minimum`; booleans are not integers here."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer. {_received(name, value)}")
    if value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. {_received(name, value)}"
        )
    return int(value)


def optional_integer(name, value, minimum=1):
    """An integer of at least `minimum`, or None."""
    return None if value is None else integer(name, value, minimum)


def boolean(name, value):
    """True or False, and nothing that merely behaves like them."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False. {_received(name, value)}")
    return value


def real(name, value, low=-math.inf, high=math.inf, low_open=False, high_open=False):
    """A finite number in the interval from `low` to `high`, ends included unless open."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number. {_received(name, value)}")
    above = value > low if low_open else value >= low
    below = value < high if high_open else value <= high
    if not (math.isfinite(value) and above and below):
        interval = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
        raise ValueError(f"`{name}` must be a number in {interval}. {_received(name, value)}")
    return float(value)


def probability(name, value):
    """A number from 0 to 1, both included."""
    return real(name, value, 0.0, 1.0)


def choice(name, value, allowed):
    """One of `allowed`."""
    if not any(value is item or (type(value) is type(item) and value == item) for item in allowed):
        options = ", ".join(repr(item) for item in allowed)
        raise ValueError(f"`{name}` must be one of {options}. {_received(name, value)}")
    return value
