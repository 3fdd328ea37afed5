"""Confidence intervals and paired tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import comb, hypot, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


def difference(one: Estimate, other: Estimate) -> Estimate:
    """One share less another of other rows, with Newcombe's interval (1998, method 10) from their Wilson intervals."""
    value = one.value - other.value
    return Estimate(
        value=value,
        low=value - hypot(one.value - one.low, other.high - other.value),
        high=value + hypot(one.high - one.value, other.value - other.low),
    )


RESAMPLES = 1000


_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float


def mean_of(values: Floats) -> Statistic:
    """The mean over rows of what each has, shape (N,)."""

    def mean(weights: Floats) -> Floats:
        means: Floats = weights @ values / len(values)
        return means

    return mean


Statistic = Callable[["Floats"], "Floats"]
"""How often each row is drawn, shape (R, N), to the figure of each resample, shape (R,)."""


def wilson(successes: float, count: float) -> Estimate:
    """A share and its Wilson (1927) score interval."""
    share = successes / count
    center = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return Estimate(value=share, low=min(share, max(0.0, center - half)), high=max(share, min(1.0, center + half)))


def mean_share(shares: Floats) -> Estimate:
    """The mean of rows' shares, shape (N,), with the Wilson interval of the effective sample size N s (1 - s) / variance
    (Franco et al. 2019, J. Surv. Stat. Methodol. 7), which is N where each row is wholly right or wrong."""
    share, variance = float(shares.mean()), float(shares.var())
    count = len(shares) * (share * (1 - share) / variance if variance > 1e-12 else 1)
    return wilson(share * count, count)


def paired_difference(one: Floats, other: Floats) -> Estimate:
    """Mean of `one` - `other` over the same N rows, with its bootstrap interval. Both have shape (N,)."""
    difference = np.asarray(one, float) - np.asarray(other, float)
    return _bootstrap(mean_of(difference), resamples(len(difference)), within=(difference.min(), difference.max()))


@lru_cache(maxsize=2)
def resamples(count: int) -> Floats:
    """Shape (1 + RESAMPLES, count): how often each row is drawn; the first line is the sample itself."""
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return np.vstack([np.ones(count), drawn])


def _bootstrap(figure: Statistic, weights: Floats, *, within: tuple[float, float]) -> Estimate:
    values = figure(weights)
    value = float(values[0])
    low, high = np.percentile(values[1:], [2.5, 97.5]) - (values[1:].mean() - value)
    lowest, highest = within
    return Estimate(value=value, low=float(max(lowest, min(low, value))), high=float(min(highest, max(high, value))))


def mcnemar(won: int, lost: int) -> float:
    """The exact two-sided p of so many rows won and lost, by the binomial distribution with 1/2."""
    count = won + lost
    tail: int = sum(comb(count, k) for k in range(min(won, lost) + 1))
    return min(1.0, 2 * tail / (1 << count))
