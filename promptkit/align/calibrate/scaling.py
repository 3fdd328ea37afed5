"""Linear corrections of log-probabilities, fitted on labeled rows and held to the identity as by a normal prior.

Supervised calibration (2505.23783) has a trust region for that. A label which occurs in no row, or in every one, keeps finite
scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.calibrate.labeled import Labeled, known, loss
from promptkit.align.calibrate.probabilities import normalized
from promptkit.core.alignment import FitData, Outputs
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearScaling:
    """log q = W log p + b."""

    weight: Floats
    """Shape (K, K), or (K,) for a diagonal one."""
    bias: Floats
    """Shape (K,)."""

    def apply(self, outputs: Outputs) -> Floats:
        """Shape (rows, K)."""
        return normalized(self.of(normalized(outputs.logprobs)))

    def of(self, logprobs: Floats) -> Floats:
        """Shape (rows, K), before it is normalized."""
        moved: Floats = logprobs @ self.weight.T if self.weight.ndim == 2 else logprobs * self.weight
        return moved + self.bias


def penalized(logprobs: Floats, labels: Integers, start: LinearScaling, l2: float) -> LinearScaling:
    """Minimises the sum over rows of -log q, and l2 / 2 times the squared distance of all parameters from `start`.

    The loss is convex, and with the penalty strictly so: there is one minimum, and it is finite whatever the labels are.
    """
    from scipy.optimize import minimize

    gold = np.eye(logprobs.shape[1])[labels]
    origin = np.concatenate([start.weight.ravel(), start.bias])
    shape, count = start.weight.shape, start.weight.size

    def at(parameters: Floats) -> LinearScaling:
        return LinearScaling(weight=parameters[:count].reshape(shape), bias=parameters[count:])

    def objective(parameters: Floats) -> tuple[float, Floats]:
        scores = at(parameters).of(logprobs)
        away = parameters - origin
        q = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        over = q - gold
        weight = over.T @ logprobs if len(shape) == 2 else (over * logprobs).sum(0)
        gradient = np.concatenate([weight.ravel(), over.sum(0)]) + l2 * away
        return len(labels) * loss(scores, labels) + l2 / 2 * float(away @ away), gradient

    found = minimize(objective, origin, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-6, "ftol": 1e-12})
    return at(found.x)


@dataclass(frozen=True)
class Scaling(Labeled):
    """The linear correction of least loss near the identity."""

    l2: float = 1.0
    """How strongly it is held: half of it times the squared distance from the identity is added to the summed loss."""

    def __post_init__(self) -> None:
        """Refuse a penalty that leaves the minimum at infinity."""
        super().__post_init__()
        if self.l2 <= 0:
            raise InputError(
                f"The penalty of the calibration {self.name} must be greater than 0",
                code="out-of-range",
                got=f"l2={self.l2}",
                aligner=self.name,
                l2=self.l2,
            )

    def identity(self, labels: int) -> LinearScaling:
        """The correction that changes nothing, of as many parameters as are fitted."""
        raise NotImplementedError

    def fit(self, support: FitData, labels: Integers | None = None) -> LinearScaling:
        """From the identity."""
        logprobs, gold = known(self.name, support, labels, self.rows)
        return penalized(logprobs, gold, self.identity(logprobs.shape[1]), self.l2)
