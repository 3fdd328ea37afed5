"""Batch calibration (Zhou et al. 2023, 2309.17249): the prior is the mean over unlabeled inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.calibrate.probabilities import Shift, normalized
from promptkit.align.calibrate.unlabeled import EstimateOn, check_rows, needed, seen
from promptkit.core.alignment import FitData, Needs
from promptkit.core.registry import checked

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

Mean = Literal["geometric", "arithmetic"]


@dataclass(frozen=True)
class Batch:
    """log q = log p - mean over unlabeled inputs of log p."""

    estimate_on: EstimateOn = "fit"
    """Rows of the train split's fit part, or all the rows that are evaluated (transductive)."""
    rows: int = 128
    """At most how many rows of the fit part."""
    mean: Mean = "geometric"
    """The mean of log p (geometric, the default), or the log of the mean of p (arithmetic: the variant in probabilities)."""
    name: ClassVar[str] = "batch"

    def __post_init__(self) -> None:
        """Refuse to calibrate on nothing."""
        checked(self)
        check_rows(self.name, self.rows)

    @property
    def needs(self) -> Needs:
        """Rows of the fit part, unless the test rows serve."""
        return needed(self.estimate_on, self.rows)

    def fit(self, support: FitData, labels: Integers | None = None) -> Shift:
        """One prior for every context."""
        return Shift(prior=prior(seen(support, self.estimate_on, self.rows if self.estimate_on == "fit" else None), self.mean))


def prior(logprobs: Floats, mean: Mean) -> Floats:
    """The mean of rows (rows, K), as (1, K)."""
    if mean == "geometric":
        return normalized(logprobs.mean(0, keepdims=True))
    return normalized(np.logaddexp.reduce(logprobs, axis=0, keepdims=True))
