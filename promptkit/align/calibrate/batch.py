"""Batch calibration (Zhou et al. 2023, 2309.17249): the prior is the mean prediction over unlabeled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.calibrate.correction import PriorCorrection
from promptkit.align.calibrate.unlabeled import (
    ROWS,
    EstimateOn,
    check_all_evaluated,
    check_rows,
    unlabeled_logprobs,
    unlabeled_rows,
)
from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.arguments import checked
from promptkit.core.needs import FitData, Need, Needs, Outputs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Mean = Literal["geometric", "arithmetic"]
"""The mean of log-probabilities, or of probabilities."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Batch calibration: log q = log p - mean of log p over unlabeled rows.

    Raises:
        InputError: `rows` is less than 1.
    """

    estimate_on: EstimateOn = "fit"
    """Rows from which the prior is estimated: the fit part of the train split, or all evaluated rows (transductive)."""
    rows: int = ROWS
    """Maximum number of rows of the fit part."""
    mean: Mean = "geometric"
    """The mean of log p, or the logarithm of the mean of p (arithmetic)."""
    name: ClassVar[str] = "batch"

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        check_rows(self.name, self.rows)
        check_all_evaluated(self.name, self.estimate_on, self.rows)

    @property
    def needs(self) -> Needs:
        """Rows of the fit part, or the evaluated rows."""
        return (self._rows,)

    @property
    def assumes_equal_classes(self) -> bool:
        """Whether it assumes equal classes: always, because it makes the mean prediction uniform."""
        return True

    @property
    def _rows(self) -> Need[Outputs]:
        return unlabeled_rows(self.estimate_on, self.rows)

    def fit(self, data: FitData) -> PriorCorrection:
        """Estimates one prior for all contexts."""
        return PriorCorrection(log_prior=mean_prior(unlabeled_logprobs(data, self._rows), self.mean))


def mean_prior(logprobs: Floats, mean: Mean) -> Floats:
    """Computes the normalized logarithm of the mean over rows, shape (rows, K) -> (1, K)."""
    if mean == "geometric":
        return normalize_logprobs(logprobs.mean(0, keepdims=True))
    return normalize_logprobs(np.logaddexp.reduce(logprobs, axis=0, keepdims=True))
