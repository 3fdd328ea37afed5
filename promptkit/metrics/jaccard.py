"""The Jaccard index of rows that can have several labels (Jaccard 1901)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class Jaccard:
    """The mean of the labels that are both predicted and correct, divided by those that are either.

    It is 1 for a row without labels for which none is predicted, and 0 for a row without an answer.
    """

    name: ClassVar[str] = "jaccard"
    title: ClassVar[str] = "Jaccard"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether rows can have several labels."""
        return rows.kind == "label_sets"

    def values(self, rows: MetricInput) -> Floats:
        """Returns the index of each row."""
        both, either = (rows.gold_sets & rows.predicted_sets).sum(1), (rows.gold_sets | rows.predicted_sets).sum(1)
        shares: Floats = np.where(either > 0, both / np.maximum(either, 1), rows.answered)
        return shares
