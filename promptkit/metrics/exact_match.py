"""The accuracy of answers extracted from generated texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import GENERATED, Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class ExactMatch:
    """The share of rows whose answer is correct; a row without an answer is not."""

    name: ClassVar[str] = "exact_match"
    title: ClassVar[str] = "exact match"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether texts were generated."""
        return rows.kind in GENERATED

    def values(self, rows: MetricInput) -> Floats:
        """Returns 1 for each correct row, else 0."""
        return rows.correct
