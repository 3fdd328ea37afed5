"""The direction of a metric: whether higher or lower values are better.

Races and estimates compare values of which higher is better: the metric, or its negative. Signs change only here.
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
        """Returns a value of the metric, or a difference of values, with the sign by which higher is better.

        Applied twice, it returns the value itself.
        """
        return value if self.higher_is_better else -value

    def of_rows(self, values: Floats) -> Floats:
        """Returns the values of rows with the sign by which higher is better."""
        return values if self.higher_is_better else -values

    def figure(self, compared: Estimate | Figure) -> Figure:
        """Returns an interval with the other sign if lower is better; see `signed`."""
        low, high = sorted((self.signed(compared.low), self.signed(compared.high)))
        return Figure(value=self.signed(compared.value), low=low, high=high)

    @property
    def word(self) -> str:
        """`higher` or `lower`, whichever is better."""
        return "higher" if self.higher_is_better else "lower"
