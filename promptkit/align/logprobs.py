"""Arithmetic of log-probabilities that stays finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.metric_input import normalized_probabilities

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

TINY = float(np.finfo(np.float64).tiny)
"""Replaces a probability of 0."""
LOG_TINY = float(np.log(TINY))
"""Replaces a log-probability of -inf."""
MAX_GAP = 700.0
"""The largest difference from the most likely label, in natural-log units, so that no label becomes impossible."""


def normalize_logprobs(logprobs: Floats) -> Floats:
    """Normalizes log-probabilities over the last axis, the labels; a row in which all are -inf becomes uniform."""
    best = logprobs.max(-1, keepdims=True)
    finite = np.maximum(logprobs - np.where(np.isfinite(best), best, 0.0), -MAX_GAP)
    normalized: Floats = finite - np.logaddexp.reduce(finite, axis=-1, keepdims=True)
    return normalized


def log_sigmoid(log_odds: Floats) -> Floats:
    """Returns the logarithm of the probability with given log-odds."""
    probability: Floats = -np.logaddexp(0.0, -log_odds)
    return probability


def expected_values(logprobs: Floats, values: Sequence[float]) -> Floats:
    """Returns the expected value of each row over its label probabilities, shape (rows,).

    Args:
        logprobs: Unnormalized log-probabilities of the labels, shape (rows, K); all -inf in a row without an answer.
        values: The value of each label on a numeric scale.

    Returns:
        Numbers within the scale; NaN in a row without an answer.
    """
    expected = np.clip(normalized_probabilities(logprobs) @ np.array(values, float), min(values), max(values))
    return np.where(np.isneginf(logprobs.max(1)), np.nan, expected)


def negative_log_likelihood(scores: Floats, gold: Integers) -> Floats:
    """Computes -log softmax(scores)[gold] for each row.

    Unlike `sklearn.metrics.log_loss` it reads logarithms, so that small probabilities are not clipped.

    Args:
        scores: Unnormalized log-probabilities, shape (rows, K).
        gold: Indices of the gold labels, shape (rows,).

    Returns:
        The losses, shape (rows,).
    """
    losses: Floats = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(gold)), gold]
    return losses
