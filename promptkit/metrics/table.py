"""The table of all metrics, and their values with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.registry import Registry
from promptkit.metrics.accuracy import Accuracy
from promptkit.metrics.base import Metric, MetricInput
from promptkit.metrics.brier import Brier
from promptkit.metrics.ece import ECE
from promptkit.metrics.exact_match import ExactMatch
from promptkit.metrics.intervals import Estimate, Statistic, bootstrap, mean_of, mean_share, paired_difference, resamples
from promptkit.metrics.macro_f1 import MacroF1
from promptkit.metrics.no_answer import NoAnswer
from promptkit.metrics.no_answer_samples import NoAnswerSamples
from promptkit.metrics.vote_accuracy import VoteAccuracy

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

METRICS: Registry[Metric] = Registry(
    "metric", (Accuracy, MacroF1, ECE, Brier, ExactMatch, NoAnswer, NoAnswerSamples), group="promptkit.metrics"
)
"""All metrics by name, in the order of tables and JSON. The first that applies to a kind of predictions is its main metric."""


def applicable(rows: MetricInput) -> dict[str, Metric]:
    """Returns the metrics that apply to predictions, by name: those of `METRICS`, then the accuracies of votes."""
    votes = (VoteAccuracy(k) for k in range(1, rows.vote_accuracies.shape[1] + 1))
    return {metric.name: metric for metric in (*METRICS.values(), *votes) if rows.kind in metric.outputs}


def row_values(metric: Metric, rows: MetricInput) -> Floats | None:
    """Returns the value of each row, shape (N,), of a metric that is a share of rows; None for other metrics."""
    values = metric.values(rows)
    return values if metric.interval == "wilson" and isinstance(values, np.ndarray) else None


def statistic(metric: Metric, rows: MetricInput) -> Statistic:
    """Returns a metric as a statistic of resampled rows."""
    values = metric.values(rows)
    return mean_of(values) if isinstance(values, np.ndarray) else values


def estimate(metric: Metric, rows: MetricInput) -> Estimate:
    """Returns the value of a metric with its interval."""
    shares = row_values(metric, rows)
    return (
        mean_share(shares)
        if shares is not None
        else bootstrap(statistic(metric, rows), resamples(len(rows)), bounds=metric.bounds)
    )


def estimates(rows: MetricInput) -> dict[str, Estimate]:
    """Returns all metrics that apply to predictions, by name."""
    return {name: estimate(metric, rows) for name, metric in applicable(rows).items()}


def difference(metric: Metric, minuend: MetricInput, subtrahend: MetricInput) -> Estimate:
    """Returns the difference of a metric between two predictions of the same rows, with its paired bootstrap interval.

    Args:
        metric: A metric that applies to both.
        minuend: The predictions for N rows.
        subtrahend: The predictions for the same rows, in the same order, whose metric is subtracted.
    """
    first, second = metric.values(minuend), metric.values(subtrahend)
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return paired_difference(first, second)
    one, other = statistic(metric, minuend), statistic(metric, subtrahend)
    width = metric.bounds[1] - metric.bounds[0]

    def subtracted(weights: Floats) -> Floats:
        differences: Floats = one(weights) - other(weights)
        return differences

    return bootstrap(subtracted, resamples(len(minuend)), bounds=(-width, width))
