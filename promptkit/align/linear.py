"""Linear alignment: a probe, which is logistic regression on what the frozen model holds for a row (Alain and Bengio 2016,
1610.01644). On the log-probabilities of source classes it is the full label map, a trained linear layer.

    log q[y] = w_y . (z - mean) / deviation + b_y

Its penalty is chosen by cross-validation within the labelled rows. Knows nothing of where features come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.folds import folds, log_loss
from promptkit.align.labelmap.mapping import FLOOR

if TYPE_CHECKING:
    from promptkit.types import Floats, Integers

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of scikit-learn's C, the inverse of the penalty: those that are tried."""
FIRST = 1e-2
"""Where there are too few rows to try any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A fitted logistic regression."""

    mean: Floats
    """Shape (width,)."""
    deviation: Floats
    """Shape (width,); 1 where a feature is constant."""
    weights: Floats
    """Shape (width, K)."""
    bias: Floats
    """Shape (K,); the logarithm of 0 for a label without rows."""
    strength: float
    """The C that was chosen."""

    def __call__(self, features: Floats) -> Floats:
        """Scores in natural-log units, shape (rows, width) -> (rows, K)."""
        scores: Floats = (features - self.mean) / self.deviation @ self.weights + self.bias
        return scores


def probe(features: Floats, gold: Integers, labels: int, strengths: Sequence[float] = STRENGTHS) -> Probe:
    """The probe of labelled rows, with the strength of least log-loss over the folds; ties go to the first.

    features: shape (rows, width); gold: shape (rows,), indices of labels.
    """
    losses = dict.fromkeys(strengths, 0.0)
    divided = [*folds(gold)] if len(strengths) > 1 else []
    for strength in strengths if divided else ():
        for fit, held in divided:
            losses[strength] += log_loss(fitted(features[fit], gold[fit], labels, strength)(features[held]), gold[held])
    best = min(strengths, key=losses.__getitem__) if divided or len(strengths) == 1 else FIRST
    return fitted(features, gold, labels, best)


def fitted(features: Floats, gold: Integers, labels: int, strength: float) -> Probe:
    """The probe of one strength."""
    mean, deviation = features.mean(0), features.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    weights, bias = np.zeros((features.shape[1], labels)), np.full(labels, FLOOR)
    seen = np.unique(gold)
    if len(seen) == 1:
        bias[seen] = 0.0
    else:
        weights[:, seen], bias[seen] = _regression((features - mean) / deviation, gold, strength)
    return Probe(mean=mean, deviation=deviation, weights=weights, bias=bias, strength=strength)


def _regression(features: Floats, gold: Integers, strength: float) -> tuple[Floats, Floats]:
    """Weights (width, classes seen) and bias (classes seen,).

    Of more features than rows the penalty leaves only what the rows span, so that those directions alone are fitted.
    """
    from sklearn.linear_model import LogisticRegression

    directions = np.linalg.svd(features, full_matrices=False)[2] if features.shape[1] > len(features) else None
    seen = features if directions is None else features @ directions.T
    found = LogisticRegression(C=strength, max_iter=1000, tol=1e-6).fit(seen, gold)
    weights, bias = found.coef_.T, found.intercept_
    if weights.shape[1] == 1:  # of two labels scikit-learn gives the log-odds of the second
        weights, bias = weights * [[-0.5, 0.5]], bias * np.array([-0.5, 0.5])
    return weights if directions is None else directions.T @ weights, bias
