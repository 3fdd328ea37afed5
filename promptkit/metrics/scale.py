"""The values that metrics of a numeric scale compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.core.metric_input import MetricInput


def has_values(rows: MetricInput) -> bool:
    """Returns whether the rows have values on a scale."""
    return rows.gold_values is not None and rows.predicted_values is not None


def values_on_scale(rows: MetricInput) -> tuple[Floats, Floats]:
    """Returns the gold and the predicted value of each row, shape (N,) each.

    A row without an answer counts as the worst prediction: the smallest or the largest value of all rows, whichever is further
    from its gold value. No metric improves if a model does not answer.
    """
    assert rows.gold_values is not None
    assert rows.predicted_values is not None
    gold, predicted = np.asarray(rows.gold_values, float), np.asarray(rows.predicted_values, float)
    known = np.concatenate([gold, predicted[~np.isnan(predicted)]])
    lowest, highest = known.min(), known.max()
    worst = np.where(gold - lowest > highest - gold, lowest, highest)
    return gold, np.where(np.isnan(predicted), worst, predicted)
