"""Prior matching (Liusie et al. 2023, 2309.04992): label weights that make the mean prediction equal a target distribution.

The weights a solve mean_i a[k] p[i, k] / sum_j a[j] p[i, j] = target[k]. With b = log a, this is where the gradient of

    mean_i log sum_j exp(b[j] + log p[i, j]) - sum_k target[k] b[k]

vanishes, which is convex in b.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.correction import PriorCorrection
from promptkit.align.calibrate.unlabeled import UnlabeledCalibration
from promptkit.align.minimize import minimized
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, Needs
from promptkit.needs.label_count import LabelCount

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, kw_only=True)
class Prior(UnlabeledCalibration):
    """Prior matching: log q = log p + log a, with the weights a that make the mean of q over unlabeled rows the target.

    Raises:
        InputError: The target is not a distribution.
    """

    target: tuple[float, ...] = ()
    """Probability of each label in the declared order, written as `0.2|0.8`; uniform by default."""
    name: ClassVar[str] = "prior"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.target and not (min(self.target) > 0 and isclose(sum(self.target), 1, abs_tol=1e-6)):
            raise InputError(
                "The target of prior matching must be probabilities greater than 0 that sum to 1",
                code="not-a-distribution",
                got="|".join(map(str, self.target)),
                target=self.target,
            )

    @property
    def needs(self) -> Needs:
        """The unlabeled rows, and as many labels as the target has probabilities."""
        return (*([LabelCount(len(self.target))] if self.target else []), self.unlabeled)

    @property
    def assumes_equal_classes(self) -> bool:
        """Whether the target is uniform by default."""
        return not self.target

    def fit(self, data: FitData) -> PriorCorrection:
        """Estimates one weight for each label."""
        logprobs = self.unlabeled_logprobs(data)
        size = len(data.labels)
        return PriorCorrection(log_prior=-label_log_weights(logprobs, np.array(self.target or np.full(size, 1 / size)))[None])


def label_log_weights(logprobs: Floats, target: Floats) -> Floats:
    """Computes log a up to a constant.

    Args:
        logprobs: Normalized log-probabilities, shape (rows, K).
        target: Target distribution, shape (K,).
    """

    def objective(b: Floats) -> tuple[float, Floats]:
        shifted = logprobs + b
        log_sums = np.logaddexp.reduce(shifted, axis=1)
        return float(log_sums.mean() - target @ b), np.exp(shifted - log_sums[:, None]).mean(0) - target

    start = np.log(target) - logprobs.mean(0)
    b = minimized(objective, start, gtol=1e-9, ftol=0, max_steps=2000)
    log_weights: Floats = b - b.max()
    return log_weights
