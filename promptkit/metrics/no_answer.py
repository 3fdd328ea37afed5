"""The share of rows without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput, OutputKind
from promptkit.metrics.base import GENERATED, Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class NoAnswer:
    """The share of rows for which no answer was found in the generated texts."""

    name: ClassVar[str] = "no_answer"
    title: ClassVar[str] = "no answer found"
    outputs: ClassVar[frozenset[OutputKind]] = GENERATED
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False

    def values(self, rows: MetricInput) -> Floats:
        """Returns 1 for each row without an answer, else 0."""
        return (~rows.answered).astype(float)
