"""The macro-averaged F1 score."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import SHARED_LABELS, Interval
from promptkit.metrics.indicators import indicators

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.metrics.intervals import Statistic


class MacroF1:
    """The mean of the F1 scores of the labels that occur as gold labels; 0 if none occurs."""

    name: ClassVar[str] = "macro_f1"
    title: ClassVar[str] = "macro-F1"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether all rows share their labels."""
        return rows.kind in SHARED_LABELS

    def values(self, rows: MetricInput) -> Statistic:
        """Returns the mean over labels for each resample of the rows."""
        true_labels, predictions = indicators(rows)
        occurs = true_labels.any(0)

        def macro_f1(weights: Floats) -> Floats:
            hits, predicted, actual = (weights @ x[:, occurs] for x in (true_labels * predictions, predictions, true_labels))
            f1 = 2 * hits / np.maximum(predicted + actual, 1) * (actual > 0)
            means: Floats = f1.sum(1) / np.maximum((actual > 0).sum(1), 1)
            return means

        return macro_f1
