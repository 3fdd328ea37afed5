"""Labeled rows divided for a choice within them, class by class, so that no chance is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Integers

FOLDS = 5


def folds(gold: Integers) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Which rows to fit on and which to try, FOLDS times; the rows of a class go to the folds in turn, in their order.

    Fewer where a fold would leave nothing to try, or no two labels to fit on. A class's only row is never tried, as nothing
    would be fitted of its class. gold: shape (rows,), indices of labels.
    """
    turn = np.full(len(gold), -1)
    for label in np.unique(gold):
        own = gold == label
        if own.sum() > 1:
            turn[own] = np.arange(own.sum()) % FOLDS
    for fold in range(FOLDS):
        held = turn == fold
        if held.any() and len(np.unique(gold[~held])) > 1:
            yield ~held, held


def log_loss(scores: NDArray[np.float64], gold: Integers) -> float:
    """The sum over rows of -log of the probability of the right label. scores: shape (rows, K), unnormalized logarithms."""
    right = scores[np.arange(len(gold)), gold]
    return float((np.logaddexp.reduce(scores, axis=1) - right).sum())
