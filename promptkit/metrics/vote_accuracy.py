"""The accuracy of a vote among k of the n texts of a row: one metric for each k, as in `exact_match@5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput, OutputKind
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

PREFIX = "exact_match@"
"""The beginning of the metrics' names."""


@dataclass(frozen=True, slots=True)
class VoteAccuracy:
    """The mean share of subsets of k texts whose vote is correct."""

    k: int

    outputs: ClassVar[frozenset[OutputKind]] = frozenset({"votes"})
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The key in JSON."""
        return f"{PREFIX}{self.k}"

    @property
    def title(self) -> str:
        """The title in tables."""
        return self.name

    def values(self, rows: MetricInput) -> Floats:
        """Returns the share of each row's subsets whose vote is correct."""
        return rows.vote_accuracies[:, self.k - 1]
