"""The scores that candidates are compared by, from their predictions for rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import SCORED, Metric
from promptkit.metrics.log_loss import LogLoss
from promptkit.metrics.table import statistic
from promptkit.tuning.direction import Direction
from promptkit.tuning.race import Scores

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


def scores_of(predictions: Sequence[MetricInput | None], metric: Metric, rows: int) -> Scores:
    """Returns the scores of candidates; NaN for those that cannot be fitted yet.

    Args:
        predictions: The predictions of each candidate for the rows; None for a candidate that cannot be fitted on so few rows.
        metric: The metric that candidates are compared by.
        rows: The number of rows.
    """
    unknown = np.full(rows, np.nan)
    correct = [unknown if each is None else each.correct for each in predictions]
    loss = [unknown if each is None else _losses(each) for each in predictions]
    values = None if metric.name in RACED else [unknown if each is None else row_scores(metric, each) for each in predictions]
    return Scores(np.array(correct), np.array(loss), None if values is None else np.array(values))


RACED = {"accuracy": "accuracy", "exact_match": "accuracy", "subset_accuracy": "accuracy", LogLoss.name: "log-loss"}
"""The metrics for which `Scores` has an array, and the name that the race has for them."""


def row_scores(metric: Metric, predictions: MetricInput) -> Floats:
    """Returns a score for each row, whose mean is the metric, with its sign changed if lower is better; shape (N,).

    For a metric that is no mean over rows, such as macro F1, these are the pseudo-values of the jackknife (Tukey 1958; Miller
    1974, Biometrika 61): n times the metric minus n - 1 times the metric without the row. All are shifted by the same amount,
    so that their mean is the metric itself and not its jackknife estimate, which differs from it by a term of order 1/n. They
    are compared by the same paired tests as the values of rows.
    """
    of_rows, n = statistic(metric, predictions), len(predictions)
    scores = of_rows(np.ones((1, n)))
    if n > 1:
        without = of_rows((1 - np.eye(n)) * n / (n - 1))  # each row is left out once; the weights sum to n
        scores = scores + (n - 1) * (without.mean() - without)
    return Direction(metric.higher_is_better).of_rows(scores)


def _losses(predictions: MetricInput) -> Floats:
    """Returns the log-loss of each row; 0 or 1 by correctness for answers without probabilities."""
    return LogLoss().values(predictions) if predictions.kind in SCORED else 1 - predictions.correct
