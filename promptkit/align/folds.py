"""Stratified folds of labeled rows, for choices by cross-validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.few_rows import allowing_few_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Integers

FOLDS = 5
"""Number of folds, if a label has that many rows."""


def folds(gold: Integers) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Divides labeled rows into stratified folds with scikit-learn's `StratifiedKFold`.

    The only row of a label is always in the training rows, so that every label has training rows in every fold.

    Args:
        gold: Indices of the labels, shape (rows,).

    Yields:
        The masks of the training rows and of the held-out rows, for each fold; none if fewer than two labels occur, or no label
        has two rows.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(gold)
    repeated = np.flatnonzero(counts[gold] > 1)
    if not len(repeated) or np.count_nonzero(counts) < 2:
        return
    splitter = StratifiedKFold(min(FOLDS, counts.max()))
    with allowing_few_rows():  # a rare label is in fewer folds
        splits = [*splitter.split(repeated, gold[repeated])]
    for _, held_out in splits:
        mask = np.zeros(len(gold), bool)
        mask[repeated[held_out]] = True
        yield ~mask, mask
