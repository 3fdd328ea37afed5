"""Linear scaling of log-probabilities, fitted on labeled rows and regularized toward the identity.

The penalty acts as a normal prior around the identity; supervised calibration (2505.23783) uses a trust region for the same
purpose. It keeps scores finite for a label that occurs in no row, or in every row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.calibrate.labeled import LabeledCalibration
from promptkit.align.logprobs import negative_log_likelihood, normalize_logprobs
from promptkit.align.minimize import minimized
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, Outputs
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@stateful("linear-scaling")
@dataclass(frozen=True, slots=True, kw_only=True)
class LinearScaling:
    """log q = W log p + b, normalized over the labels."""

    weight: Floats
    """Shape (K, K), or (K,) for a diagonal matrix."""
    bias: Floats
    """Shape (K,)."""

    def apply(self, outputs: Outputs) -> Floats:
        """Returns calibrated label log-probabilities, shape (rows, K)."""
        return normalize_logprobs(self.scores(normalize_logprobs(outputs.logprobs)))

    def scores(self, logprobs: Floats) -> Floats:
        """Computes W log p + b, shape (rows, K)."""
        scaled: Floats = logprobs @ self.weight.T if self.weight.ndim == 2 else logprobs * self.weight
        return scaled + self.bias


def fit_scaling(logprobs: Floats, gold: Integers, start: LinearScaling, l2: float) -> LinearScaling:
    """Minimizes sum_i -log q_i[gold_i] + l2 / 2 |theta - theta_start|^2 over all parameters theta by L-BFGS.

    The penalty makes the convex loss strictly convex, so that there is a single, finite minimum for any labels.

    Args:
        logprobs: Normalized log-probabilities, shape (rows, K).
        gold: Indices of the labels, shape (rows,).
        start: The scaling that the penalty pulls toward.
        l2: Strength of the penalty.
    """
    one_hot = np.eye(logprobs.shape[1])[gold]
    origin = np.concatenate([start.weight.ravel(), start.bias])
    shape, size = start.weight.shape, start.weight.size

    def unpack(parameters: Floats) -> LinearScaling:
        return LinearScaling(weight=parameters[:size].reshape(shape), bias=parameters[size:])

    def objective(parameters: Floats) -> tuple[float, Floats]:
        scores = unpack(parameters).scores(logprobs)
        offset = parameters - origin
        residual = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)) - one_hot
        weight = residual.T @ logprobs if len(shape) == 2 else (residual * logprobs).sum(0)
        gradient = np.concatenate([weight.ravel(), residual.sum(0)]) + l2 * offset
        return float(negative_log_likelihood(scores, gold).sum() + l2 / 2 * (offset @ offset)), gradient

    return unpack(minimized(objective, origin))


@dataclass(frozen=True, kw_only=True)
class Scaling(LabeledCalibration):
    """Linear scaling that is fitted on labeled rows. Subclasses define its parameters by `identity`.

    Raises:
        InputError: A setting is out of range.
    """

    l2: float = 1.0
    """Penalty: l2 / 2 times the squared distance of the parameters from the identity is added to the summed loss."""

    def __post_init__(self) -> None:
        """Checks the settings; without a penalty the minimum can be at infinity."""
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
        """Returns the scaling that changes nothing, with the parameters that are fitted."""
        raise NotImplementedError

    def fit(self, data: FitData) -> LinearScaling:
        """Fits the scaling, starting from the identity."""
        logprobs, gold = self.labeled_rows(data)
        return fit_scaling(logprobs, gold, self.identity(len(data.labels)), self.l2)
