"""The share of sampled texts without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class NoAnswerSamples:
    """The share of texts without an answer, if several texts per row vote."""

    name: ClassVar[str] = "no_answer_samples"
    title: ClassVar[str] = "no answer in a text"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether several texts per row vote."""
        return rows.kind == "votes"

    def values(self, rows: MetricInput) -> Floats:
        """Returns the share of each row's texts without an answer."""
        shares: Floats = 1 - rows.samples_answered.mean(1)
        return shares
