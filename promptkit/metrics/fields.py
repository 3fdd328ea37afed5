"""The share of rows in which a field of a JSON answer is correct: one metric for each field, as in `field@city`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.core.shown_text import label_text
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """The mean share of a field that is correct; 0 for a row without an answer."""

    field: str

    prefix: ClassVar[str] = "field@"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    @classmethod
    def members(cls, rows: MetricInput) -> list[FieldMatch]:
        """Returns the metric of each field."""
        return [cls(field) for field in rows.fields]

    @property
    def name(self) -> str:
        """The key in JSON."""
        return f"{self.prefix}{self.field}"

    @property
    def title(self) -> str:
        """The title in tables."""
        return label_text(self.field)

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether the answers have the field."""
        return self.field in rows.fields

    def values(self, rows: MetricInput) -> Floats:
        """Returns the share of the field that is correct in each row."""
        return rows.fields[self.field]
