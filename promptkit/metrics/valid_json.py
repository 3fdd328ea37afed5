"""The share of rows whose answer is valid under the JSON schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class ValidJson:
    """The share of rows whose answer is a JSON object that is valid under the schema; a row without an answer is not."""

    name: ClassVar[str] = "valid_json"
    title: ClassVar[str] = "valid JSON"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether the answers are JSON objects with a schema."""
        return rows.valid is not None

    def values(self, rows: MetricInput) -> Floats:
        """Returns 1 for each row with a valid answer, else 0."""
        return np.zeros(len(rows)) if rows.valid is None else rows.valid.astype(float)
