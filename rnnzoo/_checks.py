"""Argument checks shared by the whole package.

Every check returns the value it was given (converted to the plain Python type) or raises with one
form of message: the argument, what is expected, and ``Received: name=value``. A wrong type is a
`TypeError`, a wrong value a `ValueError`. Nothing is clamped.
"""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class LRUOptions:
    """What every layer with a linear recurrent unit takes of it: names, defaults and ranges.

    It stands here, where TensorFlow is not needed, because the zoo's table is read without it.
    """

    state_size: int | None = None
    parametrization: str = "exponential"
    normalization: str | None = "learned"
    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = math.tau
    seed: int | None = None

    parametrizations = ("exponential", "polar", "tanh", "cartesian")
    normalizations = ("learned", "fixed", None)

    def __post_init__(self):
        choice("parametrization", self.parametrization, self.parametrizations)
        choice("normalization", self.normalization, self.normalizations)
        r_max = real("r_max", self.r_max, 0.0, 1.0, low_open=True)
        r_min = real("r_min", self.r_min, 0.0, r_max, high_open=r_max == 1.0)
        if self.parametrization == "tanh" and r_min == 0.0:
            raise ValueError(
                "`r_min` must be positive with parametrization='tanh', whose angle is singular at "
                f"0. Received: r_min={r_min!r}"
            )
        max_phase = real("max_phase", self.max_phase, 0.0, 2.0 * math.pi, low_open=True)
        checked = {
            "state_size": optional_integer("state_size", self.state_size),
            "r_min": r_min,
            "r_max": r_max,
            "max_phase": max_phase,
            "seed": optional_integer("seed", self.seed, minimum=0),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def names(cls):
        """The names of the options, in the order in which layers take them."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def out_of(cls, kwargs):
        """The options among `kwargs`, which are taken out of it, and defaults for the others."""
        return cls(**{name: kwargs.pop(name) for name in cls.names() if name in kwargs})

    def as_dict(self):
        """The options by name."""
        return dataclasses.asdict(self)
