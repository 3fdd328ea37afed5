"""The accuracy of a vote among k of the n texts of a row: one metric for each k, as in `exact_match@5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True)
class VoteAccuracy:
    """The mean share of subsets of k texts whose vote is correct."""

    k: int

    prefix: ClassVar[str] = "exact_match@"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    @classmethod
    def members(cls, rows: MetricInput) -> list[VoteAccuracy]:
        """Returns the accuracy for each k."""
        return [cls(k) for k in range(1, rows.vote_accuracies.shape[1] + 1)]

    @property
    def name(self) -> str:
        """The key in JSON."""
        return f"{self.prefix}{self.k}"

    @property
    def title(self) -> str:
        """The title in tables."""
        return self.name

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether several texts per row vote."""
        return rows.kind == "votes"

    def values(self, rows: MetricInput) -> Floats:
        """Returns the share of each row's subsets whose vote is correct."""
        return rows.vote_accuracies[:, self.k - 1]
