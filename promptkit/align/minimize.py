"""Minimizes the smooth losses of calibrations, probes and label maps by L-BFGS."""

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
    """Returns the parameters that minimize a loss, computed with one thread.

    Args:
        objective: Returns the loss and its gradient.
        start: The parameters to start from.
        gtol: Stop when no component of the gradient is larger than this.
        ftol: Stop when a step decreases the loss by a smaller fraction than this.
        max_steps: The maximum number of steps.
    """
    from scipy.optimize import minimize

    options = {"maxiter": max_steps, "gtol": gtol, "ftol": ftol}
    with one_thread():
        parameters: Floats = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    return parameters
