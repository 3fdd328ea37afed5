"""The optimism of selecting the best of several options and reporting its score on the same items.

The optimism is estimated from random halvings of the items: the best option on one half, its metric on that half minus its
metric on the other. As half the items have more noise than all of them, the estimate is rather too large than too small: by a
factor of up to sqrt(2) if all options are equally good.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptkit.metrics.intervals import Statistic

HALVINGS = 1000
"""The number of random halvings."""
DECIMALS = 12
"""Decimals to which figures are rounded before the best is selected, so that options are tied that differ by rounding only."""


def optimism(options: Sequence[Statistic], items: int, *, higher_is_better: bool = True, seed: int = 0) -> float:
    """Estimates by how much the metric of the best option is better than its metric on new items.

    Args:
        options: The metric of each option, as a statistic of resampled items.
        items: The number of items.
        higher_is_better: Whether a higher value of the metric is better.
        seed: Seed of the halvings.

    Returns:
        The mean over halvings and both of their halves; positive if the figure is too good. If options are tied, the first one
        is selected. 0 for fewer than two items.
    """
    size = items // 2
    if not size:
        return 0.0
    sign = 1 if higher_is_better else -1
    in_first_half = np.random.default_rng(seed).random((HALVINGS, items)).argsort(axis=1) < size
    # weights as of resamples, which sum to the number of items; shape of each half: (options, halvings)
    first, second = (
        sign * np.array([option(half * (items / half[0].sum())) for option in options])
        for half in (in_first_half, ~in_first_half)
    )
    halvings = np.arange(HALVINGS)
    best_first, best_second = (each.round(DECIMALS).argmax(0) for each in (first, second))
    gaps = (first - second)[best_first, halvings] + (second - first)[best_second, halvings]
    return float(gaps.mean() / 2)
