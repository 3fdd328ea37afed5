"""The expected calibration error (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import SCORED, Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.metrics.intervals import Statistic

BINS = 15
"""The number of confidence bins of equal width."""


class ECE:
    """The mean gap between accuracy and confidence over bins of the confidence, weighted by their rows."""

    name: ClassVar[str] = "ece"
    title: ClassVar[str] = "ECE"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether labels or choices were scored."""
        return rows.kind in SCORED

    def values(self, rows: MetricInput) -> Statistic:
        """Returns the weighted mean gap for each resample of the rows."""
        confidence = rows.probabilities[np.arange(len(rows)), rows.predicted]
        gap_by_bin = np.eye(BINS)[np.minimum((confidence * BINS).astype(int), BINS - 1)]
        gap_by_bin *= (rows.correct - confidence)[:, None]

        def ece(weights: Floats) -> Floats:
            gaps: Floats = np.abs(weights @ gap_by_bin).sum(1) / len(rows)
            return gaps

        return ece
