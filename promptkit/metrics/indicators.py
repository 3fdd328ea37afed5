"""Labels as indicators, for metrics that count hits of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.core.metric_input import MetricInput


def indicators(rows: MetricInput) -> tuple[Floats, Floats]:
    """Returns whether each label is correct, and whether it is predicted, as 0 or 1, shape (N, K) each.

    Nothing is predicted for a row without an answer.
    """
    if rows.kind != "labels":
        return rows.gold_sets.astype(float), rows.predicted_sets.astype(float)
    one_hot = np.eye(rows.logprobs.shape[1])
    predicted: Floats = one_hot[rows.predicted] * rows.answered[:, None]
    return one_hot[rows.gold], predicted
