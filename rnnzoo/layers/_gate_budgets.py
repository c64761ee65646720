"""How `StableLSTM` divides its contraction between the gates."""

import numpy as np

from rnnzoo import _checks

# Shares of the logit of `forget_bound`; they add up to one.
FORGET_SHARES = {"recurrent": 0.2, "input": 0.4, "bias": 0.4}
# The budgets stop this far short of the bounds, so that `contraction()`, rounded up, stays below.
_HAIR = 1e-12


def gate_budgets(contraction, forget_bound, input_bound):
    """What each part of the weights may weigh; the derivation is in `StableLSTM`.

    Returns:
        A dict of `recurrent`: l1 radii of the columns of the recurrent kernel (gates i, f, g, o),
        `input`: of the kernel, `bias`: upper bounds of the bias; None where there is no bound.

    Raises:
        ValueError: Where a share is empty.
    """
    contraction = _checks.real("contraction", contraction, 0.0, 1.0, True, True)
    forget_bound = _checks.real("forget_bound", forget_bound, 0.0, 1.0, True, True)
    input_bound = _checks.real("input_bound", input_bound, 0.0, low_open=True)
    logit = np.log(forget_bound / (1.0 - forget_bound)) - _HAIR
    if logit <= 0.0:
        raise ValueError(
            "`forget_bound` must be above 0.5: its logit is split between the forget gate's "
            "recurrent weights, input weights and bias, and no share of it would be left. "
            f"Received: forget_bound={forget_bound!r}"
        )
    room = contraction - forget_bound - _HAIR
    if room <= 0.0:
        raise ValueError(
            "`contraction` must be above `forget_bound`, or no share of it is left for the gates. "
            f"Received: contraction={contraction!r}, forget_bound={forget_bound!r}"
        )
    forget = min(FORGET_SHARES["recurrent"] * logit, room / (4.0 * forget_bound))
    rest = room - forget_bound * forget
    return {
        "recurrent": [4.0 * rest, forget, rest, 4.0 * (contraction - _HAIR)],
        "input": [None, FORGET_SHARES["input"] * logit / input_bound, None, None],
        "bias": [None, FORGET_SHARES["bias"] * logit, None, None],
    }
