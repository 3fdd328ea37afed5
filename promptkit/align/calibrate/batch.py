"""Batch calibration (Zhou et al. 2023, 2309.17249): the prior is the mean prediction over unlabeled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.calibrate.correction import PriorCorrection
from promptkit.align.calibrate.unlabeled import UnlabeledCalibration
from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.needs import FitData

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Mean = Literal["geometric", "arithmetic"]
"""The mean of log-probabilities, or of probabilities."""


@dataclass(frozen=True, kw_only=True)
class Batch(UnlabeledCalibration):
    """Batch calibration: log q = log p - mean of log p over unlabeled rows."""

    mean: Mean = "geometric"
    """The mean of log p, or the logarithm of the mean of p (arithmetic)."""
    name: ClassVar[str] = "batch"

    def fit(self, data: FitData) -> PriorCorrection:
        """Estimates one prior for all contexts."""
        return PriorCorrection(log_prior=mean_prior(self.unlabeled_logprobs(data), self.mean))


def mean_prior(logprobs: Floats, mean: Mean) -> Floats:
    """Computes the normalized logarithm of the mean over rows, shape (rows, K) -> (1, K)."""
    if mean == "geometric":
        return normalize_logprobs(logprobs.mean(0, keepdims=True))
    return normalize_logprobs(np.logaddexp.reduce(logprobs, axis=0, keepdims=True))
