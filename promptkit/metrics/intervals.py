"""Confidence intervals and paired tests.

Shares of rows have the Wilson score interval (Wilson 1927). Other metrics have a percentile bootstrap interval over rows
(Efron and Tibshirani 1993), shifted by the bias of resampling, which would otherwise place the whole interval of the ECE of
a calibrated model above the ECE. If each fold has its own predictor, `design_effect` of `between_folds` widens both. All
intervals are at the 95% level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import hypot, sqrt
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.answer_record import DECIMALS
from promptkit.metrics.between_folds import design_effect

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

RESAMPLES = 1000
"""Bootstrap resamples, drawn with the seed 0."""
MOST_EXACT = 2_000
"""The largest number of differing rows for which p is computed with integers, so that a run is read without importing scipy."""
_Z = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""

Statistic = Callable[["Floats"], "Floats"]
"""Computes a metric of each resample, shape (R,), from how often each row was drawn, shape (R, N)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subset:
    """The values of a mean over a part of the rows, such as those for which a label is predicted."""

    values: Floats
    """The value of each row, from 0 to 1, shape (N,); only those of counted rows matter."""
    counted: Floats
    """1.0 for each row that is counted, else 0.0, shape (N,)."""

    def estimate(self, folds: Integers | None = None) -> Estimate:
        """Returns the mean over the counted rows with its Wilson interval; 0, from 0 to 1, if none is counted.

        Args:
            folds: The fold of each row, shape (N,), as for `mean_share`.
        """
        counted = self.counted > 0
        if not counted.any():
            return Estimate(value=0.0, low=0.0, high=1.0)
        return mean_share(self.values[counted], None if folds is None else folds[counted])

    def statistic(self) -> Statistic:
        """Returns the mean as a statistic of resampled rows; 0 for a resample without counted rows."""

        def mean(weights: Floats) -> Floats:
            means: Floats = weights @ (self.values * self.counted) / np.maximum(weights @ self.counted, 1)
            return means

        return mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The value of a metric and its 95% interval."""

    value: float
    low: float
    high: float

    def rounded(self) -> dict[str, float]:
        """Returns the value and the interval as they are written to files."""
        return {name: round(value, DECIMALS) for name, value in asdict(self).items()}


def wilson(successes: float, count: float) -> Estimate:
    """Returns a share with its Wilson score interval.

    Args:
        successes: The number of successes.
        count: The number of trials. It may be fractional, as an effective sample size is.
    """
    share = successes / count
    center = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return Estimate(value=share, low=min(share, max(0.0, center - half)), high=max(share, min(1.0, center + half)))


def mean_share(shares: Floats, folds: Integers | None = None) -> Estimate:
    """Returns the mean of shares, one per row, with the Wilson interval for their effective sample size.

    The effective sample size is N s (1 - s) / variance (Franco et al. 2019, J. Surv. Stat. Methodol. 7), which equals N where
    every share is 0 or 1. If each fold has its own predictor, it is divided by their design effect.

    Args:
        shares: Shape (N,), each from 0 to 1.
        folds: The fold of each row, shape (N,); None if one predictor predicts all rows.
    """
    effect = design_effect(shares, folds)
    if np.isin(shares, (0.0, 1.0)).all():
        return wilson(int(shares.sum()) / effect, len(shares) / effect)
    share, variance = float(shares.mean()), float(shares.var())
    count = len(shares) * (share * (1 - share) / variance if variance > 1e-12 else 1) / effect
    return wilson(share * count, count)


def difference(minuend: Estimate, subtrahend: Estimate) -> Estimate:
    """Returns the difference of two shares of independent rows with its interval (Newcombe 1998, method 10).

    Args:
        minuend: A share with its Wilson interval.
        subtrahend: The share to subtract, with its Wilson interval.
    """
    value = minuend.value - subtrahend.value
    return Estimate(
        value=value,
        low=value - hypot(minuend.value - minuend.low, subtrahend.high - subtrahend.value),
        high=value + hypot(minuend.high - minuend.value, subtrahend.value - subtrahend.low),
    )


def paired_difference(minuend: Floats, subtrahend: Floats) -> Estimate:
    """Returns the mean difference of two results of the same rows, with its bootstrap interval.

    Args:
        minuend: Shape (N,), one value per row.
        subtrahend: Shape (N,), the values to subtract.
    """
    differences = np.asarray(minuend, float) - np.asarray(subtrahend, float)
    return bootstrap(mean_of(differences), resamples(len(differences)), bounds=(differences.min(), differences.max()))


def mean_of(values: Floats) -> Statistic:
    """Returns the statistic that is the mean of values, one per row, shape (N,)."""

    def mean(weights: Floats) -> Floats:
        means: Floats = weights @ values / len(values)
        return means

    return mean


@lru_cache(maxsize=2)
def resamples(count: int) -> Floats:
    """Returns how often each resample draws each row, shape (1 + RESAMPLES, count); the first line is the sample itself."""
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return np.vstack([np.ones(count), drawn])


def bootstrap(statistic: Statistic, weights: Floats, *, bounds: tuple[float, float]) -> Estimate:
    """Returns a statistic of the sample with its bootstrap interval.

    Args:
        statistic: The statistic.
        weights: The resamples, from `resamples`.
        bounds: The least and the greatest possible value.
    """
    values = statistic(weights)
    value = float(values[0])
    low, high = np.percentile(values[1:], [2.5, 97.5]) - (values[1:].mean() - value)
    lowest, highest = bounds
    return Estimate(value=value, low=float(max(lowest, min(low, value))), high=float(min(highest, max(high, value))))


def widened(estimate: Estimate, factor: float, *, bounds: tuple[float, float]) -> Estimate:
    """Returns an estimate whose interval extends `factor` times as far to both sides.

    Args:
        estimate: The estimate.
        factor: The factor.
        bounds: The least and the greatest possible value.
    """
    value, (lowest, highest) = estimate.value, bounds
    low, high = value - factor * (value - estimate.low), value + factor * (estimate.high - value)
    return Estimate(value=value, low=max(lowest, low), high=min(highest, high))


def mcnemar(won: int, lost: int) -> float:
    """Returns the two-sided p-value of McNemar's exact test, 1 where no row differs.

    Args:
        won: Rows that only the first classifier has right.
        lost: Rows that only the second classifier has right.
    """
    trials = won + lost
    if trials > MOST_EXACT:
        from scipy.special import bdtr  # scipy.stats takes a long time to import

        return min(1.0, 2 * float(bdtr(min(won, lost), trials, 0.5)))
    term = total = 1  # the number of choices of i trials among all, and the sum of these numbers
    for number in range(min(won, lost)):
        term = term * (trials - number) // (number + 1)
        total += term
    return min(1.0, float(2 * total / 2**trials))
