"""Estimates the class shares of unlabeled rows, and corrects predictions for them (Saerens et al. 2002).

A classifier that is fitted on rows with the class shares p_0 predicts q. If the evaluated rows have other shares p, but the
distribution within each class is the same, their predictions are proportional to q p / p_0. EM finds the shares that maximize
the likelihood of unlabeled rows. Predictions that are learned from few rows are not reliable enough for that, so the estimate
is shrunk: it is the mode under a Dirichlet prior around p_0 with the weight of a number of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.logprobs import normalize_logprobs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

STEPS = 200
"""The maximum number of steps of EM."""
TOLERANCE = 1e-8
"""EM ends when no share changes by more."""


def labeled_shares(gold: Integers, labels: int) -> Floats:
    """Returns the class shares of labeled rows, shape (K,); one row is added to each class so that none is 0."""
    counts = np.bincount(gold, minlength=labels) + 1.0
    shares: Floats = counts / counts.sum()
    return shares


def estimate_shares(logprobs: Floats, shares: Floats, weight: float) -> Floats:
    """Estimates the class shares of unlabeled rows by EM.

    Args:
        logprobs: Predicted log-probabilities of unlabeled rows, shape (rows, K).
        shares: Class shares p_0 that the predictions assume, shape (K,); all greater than 0.
        weight: Weight of the prior, as a number of rows.

    Returns:
        Class shares, shape (K,).
    """
    estimate = shares
    for _ in range(STEPS if len(logprobs) else 0):
        posterior = np.exp(normalize_logprobs(logprobs + np.log(estimate / shares)))
        updated = (posterior.sum(0) + weight * shares) / (len(logprobs) + weight)
        change = np.abs(updated - estimate).max()
        estimate = updated
        if change < TOLERANCE:
            break
    return estimate
