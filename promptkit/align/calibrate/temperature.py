"""Temperature scaling (Guo et al. 2017, 1706.04599): log q = log p / T.

It changes the confidence of predictions but not the predictions themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.align.calibrate.labeled import LabeledCalibration
from promptkit.align.calibrate.scaling import LinearScaling
from promptkit.align.logprobs import negative_log_likelihood
from promptkit.core.needs import FitData

BOUNDS = (0.01, 100.0)
"""Bounds of the temperature."""


@dataclass(frozen=True, kw_only=True)
class Temperature(LabeledCalibration):
    """Temperature scaling: log q = log p / T, with the most likely T in [0.01, 100] on labeled rows."""

    name: ClassVar[str] = "temperature"

    def fit(self, data: FitData) -> LinearScaling:
        """Fits the temperature, on a logarithmic scale."""
        from scipy.optimize import minimize_scalar

        logprobs, gold = self.labeled_rows(data)

        def loss(log_temperature: float) -> float:
            return float(negative_log_likelihood(logprobs / np.exp(log_temperature), gold).mean())

        log_temperature = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded").x
        size = len(data.labels)
        return LinearScaling(weight=np.full(size, 1 / np.exp(log_temperature)), bias=np.zeros(size))
