"""What follows from a model's bounds: why there is no certificate, the k, each layer's row."""

import math

from rnnzoo.certificates._report import LayerCertificate

LONGEST = 2**20  # the longest truncation that is looked for


def problem_of(walk, input_bound):
    """Why there is no certificate (or None), and whether it is `input_bound` that is missing."""
    for step in walk.steps:
        name = f"{type(step.layer).__name__} {step.layer.name!r}"
        if step.reason:
            return f"{name}: {step.reason}", False
        if not step.lemma:
            continue
        missing = not step.known and not math.isfinite(
            max(step.lemma.start, step.lemma.contraction)
        )
        if missing and input_bound is None:
            return f"the states of {name} are bounded through its inputs alone", True
        if missing:
            return f"the size of the inputs of {name} is not known", False
        if step.lemma.steps is None:
            rate = step.lemma.contraction
            return f"{name} has the contraction bound {rate:.6g}, which is not below 1", False
    if not all(math.isfinite(signal.error(1).sup) for signal in walk.outputs):
        return "an error meets a signal whose size is not known", input_bound is None
    return None, False


def shortest(error, epsilon):
    """A k with error(k) <= epsilon: by doubling, then by bisection; None up to `LONGEST`."""
    high = 1
    while not error(high) <= epsilon:  # nor where it is NaN
        if high >= LONGEST:
            return None
        high *= 2
    low = high // 2  # above epsilon, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= epsilon else (middle, high)
    return high


def layer_certificate(step, epsilon):
    layer = step.layer
    found = {"name": layer.name, "kind": type(layer).__name__, "reason": step.reason}
    if step.lemma is None:
        return LayerCertificate(**found, lipschitz=step.lipschitz)
    lemma, k = step.lemma, None
    if epsilon is not None and lemma.steps is not None and math.isfinite(lemma.start):
        k = shortest(lambda k: lemma.decay(k).sup, epsilon)
    return LayerCertificate(
        **found,
        norm=lemma.norm,
        contraction=lemma.contraction,
        steps=lemma.steps,
        lipschitz=step.lipschitz,
        start=lemma.start,
        k=k,
    )
