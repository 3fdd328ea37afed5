"""The mean over the fields of JSON answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class FieldMean:
    """The share of the fields of JSON answers that are correct: the mean over the fields (macro average)."""

    name: ClassVar[str] = "field_mean"
    title: ClassVar[str] = "fields"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether the answers have fields."""
        return bool(rows.fields)

    def values(self, rows: MetricInput) -> Floats:
        """Returns the share of the fields that are correct in each row."""
        means: Floats = np.mean([*rows.fields.values()], axis=0)
        return means
