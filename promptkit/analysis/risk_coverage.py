"""The error rate among the most confident rows, for each share of rows that are answered.

The risk-coverage curve (El-Yaniv and Wiener 2010, Journal of Machine Learning Research 11) shows what abstention below a
probability gains: rows are answered in the order of the probability of their likeliest label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from promptkit.core.metric_input import MetricInput

MOST_POINTS = 200
"""The most points of a curve; with more thresholds, some are left out."""


class Selective(NamedTuple):
    """What a threshold answers."""

    coverage: float
    """The share of all rows that are answered."""
    risk: float
    """The share of answered rows with a wrong prediction."""
    threshold: float
    """The least probability of a predicted label that is answered."""


def risk_coverage(rows: MetricInput) -> list[Selective]:
    """Returns the curve, by ascending coverage; empty if no row has an answer with a probability.

    Rows of equal confidence are answered together. Rows without an answer are never answered.

    Args:
        rows: The predictions.
    """
    if not rows.logprobs.shape[1]:
        return []
    confidence = rows.probabilities.max(1)
    order = np.argsort(-confidence, kind="stable")
    order = order[rows.answered[order]]
    if not len(order):
        return []
    sorted_confidence, wrong = confidence[order], np.cumsum(1 - rows.correct[order])
    last = np.flatnonzero(np.append(np.diff(sorted_confidence) != 0, True))
    kept = last if len(last) <= MOST_POINTS else last[np.linspace(0, len(last) - 1, MOST_POINTS).round().astype(int)]
    return [
        Selective((index + 1) / len(rows), float(wrong[index]) / (index + 1), float(sorted_confidence[index]))
        for index in map(int, kept)
    ]
