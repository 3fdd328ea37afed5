"""The share of rows whose whole set of labels is correct."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class SubsetAccuracy:
    """The share of rows for which exactly the correct labels are predicted."""

    name: ClassVar[str] = "subset_accuracy"
    title: ClassVar[str] = "whole set"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether rows can have several labels."""
        return rows.kind == "label_sets"

    def values(self, rows: MetricInput) -> Floats:
        """Returns 1 for each correct row, else 0."""
        return rows.correct
