"""The protocol of metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from promptkit.core.metric_input import MetricInput, OutputKind

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.metrics.intervals import Statistic, Subset

Interval = Literal["wilson", "bootstrap"]
"""How an interval is computed: by Wilson's formula for shares of rows, or from resampled rows."""


@runtime_checkable
class Metric(Protocol):
    """A metric. A class with these attributes becomes available everywhere by `promptkit.metrics.register`."""

    @property
    def name(self) -> str:
        """The key in JSON and of `metric=` in studies."""
        ...

    @property
    def title(self) -> str:
        """The title in tables."""
        ...

    @property
    def is_default(self) -> bool:
        """Whether it is computed for every run that it applies to, without being requested."""
        ...

    @property
    def interval(self) -> Interval:
        """The method of its interval; `wilson` is for shares of rows, from 0 to 1."""
        ...

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest possible value, at which intervals end."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better."""
        ...

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether the metric is defined for predictions, such as those of labels, or those with values on a scale."""
        ...

    def values(self, rows: MetricInput) -> Floats | Subset | Statistic:
        """Returns what the metric is computed from.

        It is the value of each row, shape (N,), if the metric is their mean; a `Subset` if it is the mean of some of the rows;
        and otherwise a statistic of the rows.
        """
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """A family of metrics, with one metric for each member of the predictions, such as each field of a JSON answer."""

    prefix: str
    """The beginning of the metrics' names."""
    members: Callable[[MetricInput], Sequence[Metric]]
    """Returns the metrics that predictions have."""


SCORED: frozenset[OutputKind] = frozenset({"labels", "choices"})
"""Labels or choices with scores."""
GENERATED: frozenset[OutputKind] = frozenset({"texts", "votes"})
"""Generated texts."""
SHARED_LABELS: frozenset[OutputKind] = frozenset({"labels", "label_sets"})
"""Labels that all rows share; a row has one or several of them."""
