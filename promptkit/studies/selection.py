"""What it is worth to pick the best of several, and by how much its figure flatters.

The best of N on the items that it was picked by looks better than it is. The optimism is estimated by random halvings of
the items: the best on one half, its share of right answers there less that on the other half. A half is noisier than the
whole, so that this is rather too large than too small: up to sqrt(2) times, where all are equally good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

HALVINGS = 1000


def optimism(correct: Floats, seed: int = 0) -> float:
    """The mean, over halvings and their two halves, of how much better the best is on the half that it was picked by.

    correct: shape (options, items). The first of several that are equally good is picked.
    """
    items = correct.shape[1]
    size = items // 2
    if not size:
        return 0.0
    mine = np.random.default_rng(seed).random((HALVINGS, items)).argsort(axis=1) < size
    one, other = correct @ mine.T / size, correct @ ~mine.T / (items - size)
    every = np.arange(HALVINGS)
    gaps = (one - other)[one.argmax(0), every] + (other - one)[other.argmax(0), every]
    return float(gaps.mean() / 2)
