"""Labelled rows of the fit part, the loss over them, and the linear correction that minimises it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.calibrate.probabilities import normalised
from promptkit.aligners import Outputs, Support
from promptkit.errors import PromptkitError

if TYPE_CHECKING:
    from promptkit.types import Floats, Integers


def known(name: str, support: Support, labels: Integers | None, rows: int) -> tuple[Floats, Integers]:
    """Normalised log-probabilities (rows, K) and labels (rows,) of the first rows, less those whose label may not be known."""
    if labels is None or not (labels[:rows] >= 0).any():
        raise PromptkitError(
            f"The calibration {name} has no labelled rows to be fitted on", hint="Give the task more train rows, or rows=..."
        )
    may = labels[:rows] >= 0
    return normalised(support.rows.logprobs[:rows][may]), labels[:rows][may]


def loss(logprobs: Floats, labels: Integers) -> float:
    """The mean over rows of -log q of the right label, q renormalised."""
    right = logprobs[np.arange(len(labels)), labels]
    return float((np.logaddexp.reduce(logprobs, axis=1) - right).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """log q = W log p + b."""

    weight: Floats
    """Shape (K, K), or (K,) for a diagonal one."""
    bias: Floats
    """Shape (K,)."""

    def apply(self, outputs: Outputs) -> Floats:
        """Shape (rows, K)."""
        return normalised(self.of(normalised(outputs.logprobs)))

    def of(self, logprobs: Floats) -> Floats:
        """Shape (rows, K), before it is normalised."""
        moved: Floats = logprobs @ self.weight.T if self.weight.ndim == 2 else logprobs * self.weight
        return moved + self.bias


def penalised(logprobs: Floats, labels: Integers, start: Linear, l2: float) -> Linear:
    """Minimises the sum over rows of -log q, and l2 / 2 times the squared distance of all parameters from `start`.

    The loss is convex, and with the penalty strictly so: there is one minimum, and it is finite whatever the labels are.
    """
    from scipy.optimize import minimize

    gold = np.eye(logprobs.shape[1])[labels]
    origin = np.concatenate([start.weight.ravel(), start.bias])
    shape, count = start.weight.shape, start.weight.size

    def at(parameters: Floats) -> Linear:
        return Linear(weight=parameters[:count].reshape(shape), bias=parameters[count:])

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
