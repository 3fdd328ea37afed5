"""Minimization of the smooth losses that calibrations and label maps are fitted by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from promptkit.core.one_thread import one_thread

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


def minimized(
    objective: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    *,
    gtol: float = 1e-6,
    ftol: float = 1e-12,
    max_steps: int = 1000,
) -> Floats:
    """Returns the parameters with the smallest loss, by L-BFGS.

    Args:
        objective: Returns the loss and its gradient.
        start: The parameters to start from.
        gtol: Ends when no component of the gradient is larger.
        ftol: Ends when a step lowers the loss by a smaller share.
        max_steps: The most steps.
    """
    from scipy.optimize import minimize

    options = {"maxiter": max_steps, "gtol": gtol, "ftol": ftol}
    with one_thread():
        parameters: Floats = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    return parameters
