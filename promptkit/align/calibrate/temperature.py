"""Temperature scaling (Guo et al. 2017, 1706.04599): log q = log p / T. No prediction changes; how sure they are does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.labeled import Labeled, known, loss
from promptkit.align.calibrate.scaling import LinearScaling
from promptkit.core.alignment import FitData

if TYPE_CHECKING:
    from promptkit.core.arrays import Integers

BOUNDS = (0.01, 100.0)


@dataclass(frozen=True)
class Temperature(Labeled):
    """log q = log p / T, T in [0.01, 100] the likeliest on labeled rows of the fit part."""

    name: ClassVar[str] = "temperature"

    def fit(self, support: FitData, labels: Integers | None = None) -> LinearScaling:
        """One temperature."""
        from scipy.optimize import minimize_scalar

        logprobs, gold = known(self.name, support, labels, self.rows)
        low, high = np.log(BOUNDS)
        found = minimize_scalar(lambda t: loss(logprobs / np.exp(t), gold), bounds=(low, high), method="bounded")
        size = logprobs.shape[1]
        return LinearScaling(weight=np.full(size, 1 / np.exp(found.x)), bias=np.zeros(size))
