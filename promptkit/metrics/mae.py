"""The mean absolute error of values on a numeric scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval
from promptkit.metrics.scale import has_values, values_on_scale

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class MAE:
    """The mean distance between the predicted value and the gold value."""

    name: ClassVar[str] = "mae"
    title: ClassVar[str] = "MAE"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    higher_is_better: ClassVar[bool] = False

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether the rows have values on a scale."""
        return has_values(rows)

    def values(self, rows: MetricInput) -> Floats:
        """Returns the distance of each row."""
        gold, predicted = values_on_scale(rows)
        distances: Floats = abs(predicted - gold)
        return distances
