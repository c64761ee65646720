"""What theory says of one linear unit h_t = lambda h_{t-1} + x_t, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rnnzoo import _checks


def state_second_moment(eigenvalue: ArrayLike, rho: float = 0.0) -> np.ndarray:
    r"""The second moment of the state of one linear unit, in its stationary regime.

    $$E|h|^2 = \frac{1-\rho^2|\lambda|^2}{(1-|\lambda|^2)\,|1-\rho\lambda|^2},\qquad
      h_t = \lambda h_{t-1} + x_t,\quad E[x_t x_{t+\Delta}] = \rho^{|\Delta|}$$

    For a real $\lambda$ this is $\frac{1+\rho\lambda}{(1-\rho\lambda)(1-\lambda^2)}$.

    Args:
        eigenvalue: lambda, a number or array, real or complex, with modulus below 1.
        rho: The correlation of neighbouring inputs, a number in [0, 1] (default 0: white).

    Returns:
        float64, of the shape of `eigenvalue`.

    Raises:
        ValueError, TypeError: For arguments out of range.

    Source: Zucchet & Orvieto (2024), section 3.

    Example:

    >>> round(float(state_second_moment(0.5)), 4), round(float(state_second_moment(0.5, 1.0)), 4)
    (1.3333, 4.0)
    """
    a, b, rho = _checked(eigenvalue, rho)
    return _moment(a, b, rho).real


def sensitivity_second_moment(eigenvalue: ArrayLike, rho: float = 0.0) -> np.ndarray:
    r"""The second moment of the derivative of the state by the eigenvalue, stationary.

    $$E\left|\frac{dh}{d\lambda}\right|^2 = \left.\partial_a\partial_b
      \frac{1-\rho^2ab}{(1-ab)(1-\rho a)(1-\rho b)}\right|_{a=\lambda,\ b=\bar\lambda}$$

    For a real $\lambda$ this is $\frac{(1+\lambda^2)(1-\lambda^2\rho^2)+2(1-\lambda^2)\lambda\rho}
    {(1-\lambda^2)^3(1-\lambda\rho)^2}$: it grows faster than the state's second moment as
    $|\lambda|$ goes to 1, which is what the paper calls the curse of memory.

    Args:
        eigenvalue, rho: As in `state_second_moment`.

    Returns:
        float64, of the shape of `eigenvalue`. The derivative of a complex unit is that of the
        analytic function; by a parameter w of lambda it is this times $|d\lambda/dw|^2$.

    Raises:
        ValueError, TypeError: For arguments out of range.

    Source: Zucchet & Orvieto (2024), section 3 and its appendix.

    Example:

    >>> round(float(sensitivity_second_moment(0.5)), 4)
    2.963
    """
    a, b, rho = _checked(eigenvalue, rho)
    by_a = -(rho**2) * b / (1 - rho**2 * a * b) + b / (1 - a * b) + rho / (1 - rho * a)
    by_b = -(rho**2) * a / (1 - rho**2 * a * b) + a / (1 - a * b) + rho / (1 - rho * b)
    mixed = 1 / (1 - a * b) ** 2 - rho**2 / (1 - rho**2 * a * b) ** 2
    return (_moment(a, b, rho) * (by_a * by_b + mixed)).real


def teacher_student_loss(
    student: ArrayLike, teacher: ArrayLike, normalized: bool = False
) -> np.ndarray:
    r"""Half the mean squared difference of two linear units that are given the same white input.

    $$L = \frac12\left[\frac{g^2}{1-|\lambda|^2} + \frac{g_*^2}{1-|\lambda_*|^2}
      - 2\,\Re\frac{g\,g_*}{1-\lambda\bar\lambda_*}\right]$$

    with $g=1$, or with `normalized` $g=\sqrt{1-|\lambda|^2}$, the input's factor in an LRU.

    Args:
        student, teacher: lambda and lambda*, numbers or arrays that broadcast, with modulus below
            1.
        normalized: Whether the inputs of both units are normalized (default False).

    Returns:
        float64, of the common shape.

    Raises:
        ValueError, TypeError: For arguments out of range.

    Source: Zucchet & Orvieto (2024), section 4.

    Example:

    >>> float(teacher_student_loss(0.0, 0.0)), round(float(teacher_student_loss(0.5, 0.0)), 4)
    (0.0, 0.1667)
    """
    one, _, _ = _checked(student, 0.0, "student")
    other, _, _ = _checked(teacher, 0.0, "teacher")
    powers = [1.0 / (1.0 - np.abs(value) ** 2) for value in (one, other)]
    gains = [
        1.0 / np.sqrt(power) if _checks.boolean("normalized", normalized) else 1.0
        for power in powers
    ]
    own = [gain**2 * power for gain, power in zip(gains, powers)]
    return 0.5 * (own[0] + own[1]) - (gains[0] * gains[1] / (1.0 - one * np.conj(other))).real


def teacher_student_hessian(
    modulus: ArrayLike, normalized: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    r"""The second derivatives of `teacher_student_loss` by modulus and angle, at the teacher.

    $$\frac{\partial^2 L}{\partial\nu^2} = \frac{1+\nu^2}{(1-\nu^2)^3},\qquad
      \frac{\partial^2 L}{\partial\theta^2} = \frac{\nu^2(1+\nu^2)}{(1-\nu^2)^3}$$

    and, normalized, $\frac1{(1-\nu^2)^2}$ and $\frac{\nu^2(1+\nu^2)}{(1-\nu^2)^2}$.

    Args:
        modulus: $\nu=|\lambda_*|$, a number or array in [0, 1).
        normalized: As in `teacher_student_loss`.

    Returns:
        The pair (by modulus, by angle), float64 of the shape of `modulus`.

    Raises:
        ValueError, TypeError: For arguments out of range.

    Source: Zucchet & Orvieto (2024), section 4.

    Example:

    >>> [round(float(v), 4) for v in teacher_student_hessian(0.5)]
    [2.963, 0.7407]
    """
    value, _, _ = _checked(modulus, 0.0, "modulus")
    if (value.imag != 0).any() or (value.real < 0).any():
        raise ValueError(f"`modulus` must be in [0, 1). Received: modulus={modulus!r}")
    square = value.real**2
    if _checks.boolean("normalized", normalized):
        return 1.0 / (1.0 - square) ** 2, square * (1.0 + square) / (1.0 - square) ** 2
    by_modulus = (1.0 + square) / (1.0 - square) ** 3
    return by_modulus, square * by_modulus


def _moment(a, b, rho):
    return (1 - rho**2 * a * b) / ((1 - a * b) * (1 - rho * a) * (1 - rho * b))


def _checked(eigenvalue, rho, name="eigenvalue"):
    """lambda and its conjugate as complex arrays, and rho."""
    value = np.asarray(eigenvalue)
    if value.dtype.kind not in "iufc":
        raise TypeError(f"`{name}` must hold numbers. Received: {name}={eigenvalue!r}")
    if not (np.abs(value) < 1.0).all():
        raise ValueError(f"`{name}` must have a modulus below 1. Received: {name}={eigenvalue!r}")
    value = value.astype(np.complex128)
    return value, np.conj(value), _checks.real("rho", rho, 0.0, 1.0)
