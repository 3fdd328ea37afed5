"""Whether higher or lower values of a metric are better: the one place where signs change.

Races and estimates compare values of which higher is better; they are the metric, or its negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.metrics.intervals import Estimate
from promptkit.predictor.estimate import Figure

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True)
class Direction:
    """Whether higher or lower values of a metric are better."""

    higher_is_better: bool

    def signed(self, value: float) -> float:
        """Returns a value of the metric as a value of which higher is better, and such a value as one of the metric.

        A difference of values becomes a gain: positive if the first one is better.
        """
        return value if self.higher_is_better else -value

    def of_rows(self, values: Floats) -> Floats:
        """Returns the metric's values of rows as values of which higher is better."""
        return values if self.higher_is_better else -values

    def figure(self, compared: Estimate | Figure) -> Figure:
        """Returns an interval of compared values, or of differences of them, as one of the metric, and the other way round."""
        low, high = sorted((self.signed(compared.low), self.signed(compared.high)))
        return Figure(value=self.signed(compared.value), low=low, high=high)

    @property
    def word(self) -> str:
        """`higher` or `lower`, whichever is better."""
        return "higher" if self.higher_is_better else "lower"
