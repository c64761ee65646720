"""The arithmetic: medians with quartiles, ratios of rounds, exponents."""

import math

import numpy as np


def summary(values):
    """Median and quartiles of `values`, as a dict."""
    q1, median, q3 = np.percentile(np.asarray(values, float), [25, 50, 75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3)}


def ratio_of_rounds(ours, peer):
    """The ratio ours / peer, from lists of rounds, each a list of seconds.

    Each round gives the ratio of its two medians; the result is their median and quartiles. What
    slows the machine for a while slows both sides of a round, and cancels.
    """
    return summary([np.median(a) / np.median(b) for a, b in zip(ours, peer, strict=True)])


def flatten(rounds):
    return [second for one in rounds for second in one]


def exponent(sizes, values):
    """The e of values = c * sizes**e: the least-squares slope of the logs.

    Also the slope between the two largest sizes, where constant costs weigh least. Points whose
    value is not positive have no logarithm and are left out; with fewer than two left both are
    None.
    """
    points = sorted((s, v) for s, v in zip(sizes, values, strict=True) if v > 0)
    if len(points) < 2:
        return {"all": None, "last_two": None}
    x, y = np.log(np.array(points, float)).T
    slope = float(np.polyfit(x, y, 1)[0])
    last = float((y[-1] - y[-2]) / (x[-1] - x[-2]))
    return {"all": slope, "last_two": last}


def verdict(value, must, aim):
    """Where a measured value stands: "aim", "must", "missed", or "-" without targets."""
    if must is None or value is None or math.isnan(value):
        return "-"
    if aim is not None and value <= aim:
        return "aim"
    return "must" if value <= must else "missed"
