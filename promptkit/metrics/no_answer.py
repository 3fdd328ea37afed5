"""The share of rows without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import GENERATED, Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class NoAnswer:
    """The share of rows for which no answer was found in the generated texts."""

    name: ClassVar[str] = "no_answer"
    title: ClassVar[str] = "no answer found"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether texts were generated."""
        return rows.kind in GENERATED

    def values(self, rows: MetricInput) -> Floats:
        """Returns 1 for each row without an answer, else 0."""
        return (~rows.answered).astype(float)
