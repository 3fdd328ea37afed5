"""Batch calibration with a strength that is fitted on labeled rows (BCL; Zhou et al. 2023, 2309.17249)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.calibrate.batch import Mean, mean_prior
from promptkit.align.calibrate.correction import PriorCorrection
from promptkit.align.calibrate.labeled import LabeledCalibration
from promptkit.align.logprobs import negative_log_likelihood, normalize_logprobs
from promptkit.core.needs import FitData

BOUNDS = (-5.0, 5.0)
"""Bounds of gamma."""


@dataclass(frozen=True, kw_only=True)
class BatchFitted(LabeledCalibration):
    """Batch calibration with few labels: log q = log p - gamma mean log p, with the most likely gamma in [-5, 5].

    The paper searches a grid of gamma; the likelihood is convex in gamma and is minimized directly here. The prior is estimated
    on the same rows, including those without a label.
    """

    mean: Mean = "geometric"
    """The mean of log p, or the logarithm of the mean of p (arithmetic)."""
    name: ClassVar[str] = "batch-fitted"

    def fit(self, data: FitData) -> PriorCorrection:
        """Fits gamma."""
        from scipy.optimize import minimize_scalar

        logprobs, gold = self.labeled_rows(data)
        log_prior = mean_prior(normalize_logprobs(data[self.labels].outputs.logprobs), self.mean)

        def loss(gamma: float) -> float:
            return float(negative_log_likelihood(logprobs - gamma * log_prior, gold).mean())

        return PriorCorrection(log_prior=minimize_scalar(loss, bounds=BOUNDS, method="bounded").x * log_prior)
