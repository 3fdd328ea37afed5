"""The accuracy of scored labels or choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import SCORED, Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class Accuracy:
    """The share of rows whose likeliest label or choice is the gold one."""

    name: ClassVar[str] = "accuracy"
    title: ClassVar[str] = "accuracy"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether labels or choices were scored."""
        return rows.kind in SCORED

    def values(self, rows: MetricInput) -> Floats:
        """Returns 1 for each correct row, else 0."""
        return rows.correct
