"""Toys that the suite's own tests run in workers."""

import importlib
import os
import sys
import time


def sleeper(seconds):
    print("printed while building")

    def run():
        print("printed while running")
        time.sleep(seconds)

    return run


def needs_a_library_that_is_not_there():
    importlib.import_module("a_library_that_is_not_there")


def broken():
    def run():
        raise ArithmeticError("it does not add up")

    return run


def dies():
    def run():
        sys.stderr.write("goodbye\n")
        sys.stderr.flush()
        os._exit(3)

    return run


def dies_later(turns):
    """A side that dies in its turn, after so many good ones."""
    left = [turns]

    def run():
        left[0] -= 1
        if left[0] < 0:
            os._exit(4)

    return run


def hog(megabytes):
    """Holds that much, and lets go."""
    return lambda: len(bytearray(b"x") * (megabytes * 10**6))
