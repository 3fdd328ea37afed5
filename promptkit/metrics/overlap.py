"""What metrics of text overlap share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.errors import missing_extra

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as CorpusMetric

    from promptkit.core.arrays import Floats
    from promptkit.core.errors import MissingPackage
    from promptkit.core.metric_input import MetricInput
    from promptkit.metrics.intervals import Statistic

EXTRA = "metrics"
"""The extra with the packages of these metrics."""


def texts(rows: MetricInput) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the prediction and the accepted answers of each row; a row without an answer has the empty text."""
    for prediction, accepted in zip(rows.predictions, rows.accepted, strict=True):
        yield prediction or "", accepted


def corpus_statistic(metric: CorpusMetric, rows: MetricInput) -> Statistic:
    """Returns a metric of sacrebleu over all rows as a statistic of resampled rows.

    The texts are read once: a resample adds the counts of its rows, from which the metric is computed.

    Args:
        metric: The metric.
        rows: The predictions.
    """
    counts = [metric._extract_corpus_statistics([text], [[answer] for answer in accepted])[0] for text, accepted in texts(rows)]
    table = np.array(counts, float)

    def scores(weights: Floats) -> Floats:
        sums = np.rint(weights @ table).astype(int).tolist()
        return np.array([metric._compute_score_from_stats(each).score for each in sums], float)

    return scores


def missing(package: str, metric: str) -> MissingPackage:
    """Returns the error for a package that is not installed.

    Args:
        package: The package.
        metric: The metric that needs it.
    """
    return missing_extra(package, EXTRA, f"The metric {metric}")
