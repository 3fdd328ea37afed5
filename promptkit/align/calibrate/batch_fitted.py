"""Batch calibration with a few labels (BCL; Zhou et al. 2023, 2309.17249): how much of the prior is divided out is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.align.calibrate.batch import Mean, prior
from promptkit.align.calibrate.labeled import Labeled, known, loss
from promptkit.align.calibrate.probabilities import Shift
from promptkit.align.calibrate.unlabeled import seen
from promptkit.core.alignment import FitData

if TYPE_CHECKING:
    from promptkit.core.arrays import Integers

BOUNDS = (-5.0, 5.0)


@dataclass(frozen=True)
class BatchFitted(Labeled):
    """log q = log p - gamma mean log p, gamma in [-5, 5] the likeliest on labeled rows of the fit part.

    The paper picks gamma from a grid by what a few labeled rows say; the likelihood is convex in gamma, and needs no grid.
    The prior is estimated on the same rows, those included whose label may not be known.
    """

    mean: Mean = "geometric"
    """The mean of log p (the default), or the log of the mean of p."""
    name: ClassVar[str] = "batch-fitted"

    def fit(self, support: FitData, labels: Integers | None = None) -> Shift:
        """One number."""
        from scipy.optimize import minimize_scalar

        logprobs, gold = known(self.name, support, labels, self.rows)
        estimated = prior(seen(support, "fit", self.rows), self.mean)
        found = minimize_scalar(lambda gamma: loss(logprobs - gamma * estimated, gold), bounds=BOUNDS, method="bounded")
        return Shift(prior=found.x * estimated)
