"""The micro-averaged F1 score of rows that can have several labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.metrics.intervals import Statistic


class MicroF1:
    """The F1 score over all pairs of a row and a label.

    It is 0 if no label occurs and none is predicted.
    """

    name: ClassVar[str] = "micro_f1"
    title: ClassVar[str] = "micro-F1"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether rows can have several labels."""
        return rows.kind == "label_sets"

    def values(self, rows: MetricInput) -> Statistic:
        """Returns the score of each resample of the rows."""
        hits, both = (rows.gold_sets & rows.predicted_sets).sum(1), rows.gold_sets.sum(1) + rows.predicted_sets.sum(1)

        def micro_f1(weights: Floats) -> Floats:
            scores: Floats = 2 * (weights @ hits) / np.maximum(weights @ both, 1)
            return scores

        return micro_f1
