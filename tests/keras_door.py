"""Tests of the door to private names, each of which fails with the sentence of what would break."""

import functools
import inspect

from rnnzoo import _keras

CHECKED = set()


def check_of(*functions):
    """A test checks these functions of `rnnzoo._keras`, and shows their docstrings if it fails."""

    def decorate(test):
        CHECKED.update(function.__name__ for function in functions)

        @functools.wraps(test)
        def run(*args, **kwargs):
            try:
                return test(*args, **kwargs)
            except Exception as error:
                says = [f"rnnzoo._keras.{f.__name__}: {inspect.getdoc(f)}" for f in functions]
                raise AssertionError("\n\n".join([*says, f"{error}"])) from error

        return run

    return decorate


def public():
    """The names of all functions and classes that the door has."""
    return {
        name
        for name, value in vars(_keras).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__.startswith("rnnzoo._keras")
    }
