"""The optimism of selecting the best of several options and reporting its score on the same items.

The optimism is estimated from random halvings of the items: the best option on one half, its accuracy on that half minus its
accuracy on the other. As half the items have more noise than all of them, the estimate is rather too large than too small: by a
factor of up to sqrt(2) if all options are equally good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

HALVINGS = 1000
"""The number of random halvings."""


def optimism(correct: Floats, seed: int = 0) -> float:
    """Estimates by how much the accuracy of the best option overestimates its accuracy on new items.

    Args:
        correct: 1.0 for a correct answer, 0.0 for a wrong one; shape (options, items).
        seed: Seed of the halvings.

    Returns:
        The mean over halvings and both of their halves. If options are tied, the first one is selected. 0 for fewer than two
        items.
    """
    items = correct.shape[1]
    size = items // 2
    if not size:
        return 0.0
    in_first_half = np.random.default_rng(seed).random((HALVINGS, items)).argsort(axis=1) < size
    first = correct @ in_first_half.T / size  # accuracy of each option on each half, (options, halvings)
    second = correct @ ~in_first_half.T / (items - size)
    halvings = np.arange(HALVINGS)
    gaps = (first - second)[first.argmax(0), halvings] + (second - first)[second.argmax(0), halvings]
    return float(gaps.mean() / 2)
