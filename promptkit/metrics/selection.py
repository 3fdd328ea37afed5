"""What the best of several candidates scores on new rows, estimated from the rows that it was chosen by.

The score of the best candidate on the rows that it was chosen by is too high on average; the excess is its optimism. It is
corrected by the bootstrap (BBC-CV; Tsamardinos, Greasidou and Borboudakis 2018, Machine Learning 107): the choice is repeated
on resamples of the rows, and each time the chosen candidate is scored on the rows that were not drawn. The estimate is the
mean over resamples. The predictions are not made again.

The interval has the percentiles of the resamples; that of a share of rows is the Wilson interval with the variance of the
resamples, so that it has a width even if every row is right. Each resample is scored on about 37% of the rows only, which
makes the interval wider than it would have to be for a candidate that is known in advance, and includes the choice. If each
fold of the rows has its own predictor, the variance between the predictors is added (`promptkit.metrics.between_folds`): the
resamples contain that of the rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.metrics.between_folds import added_ratio
from promptkit.metrics.intervals import Estimate, Statistic, resamples, widened, wilson

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools, Floats, Integers

DECIMALS = 12
"""Decimals to which figures are rounded before the best is chosen, so that options are tied that differ by rounding only."""
TINY = 1e-12
"""Variances up to this are 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """The score of a chosen candidate, and what it is expected to be on new rows."""

    own: float
    """The score on the rows that the candidate was chosen by."""
    estimate: Estimate
    """The estimate of the score on new rows, with its 95% interval."""

    @property
    def optimism(self) -> float:
        """By how much the score on the rows that it was chosen by is too high."""
        return self.own - self.estimate.value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Between:
    """The variance that the predictors of folds add to an estimate."""

    ratio: float = 0.0
    """This variance, divided by that of a row."""
    of_row: float = 0.0
    """The variance of a row."""


def best(values: Floats, weights: Floats) -> Integers:
    """Returns the candidate with the highest mean in each resample, the first of equally good ones, shape (B,).

    Args:
        values: The value of each row, shape (C, N).
        weights: How often each resample draws each row, shape (B, N), as `resamples` returns it.
    """
    first: Integers = np.round(weights @ values.T, 9).argmax(1)
    return first


def corrected_best(values: Floats) -> Corrected:
    """Returns the corrected score of the best candidate, the first of equally good ones.

    Args:
        values: The value of each row, higher is better, shape (C, N).
    """
    return corrected(values, best(values, resamples(values.shape[1])))


def corrected_best_statistic(
    options: Sequence[Statistic], rows: int, *, higher_is_better: bool = True, is_share: bool = False
) -> Corrected:
    """Returns the corrected value of a metric of the best candidate, the first of equally good ones.

    Args:
        options: The metric of each candidate, as a statistic of resampled rows.
        rows: The number of rows.
        higher_is_better: Whether a higher value of the metric is better.
        is_share: Whether the metric is a share of rows, from 0 to 1.
    """
    figures = np.array([option(resamples(rows)) for option in options])
    chosen = np.round(figures if higher_is_better else -figures, DECIMALS).argmax(0)
    return corrected_statistic(options, chosen, rows, is_share=is_share)


def corrected_statistic(options: Sequence[Statistic], chosen: Integers, rows: int, *, is_share: bool = False) -> Corrected:
    """Returns the corrected value of a metric of a choice.

    Args:
        options: The metric of each candidate, as a statistic of resampled rows.
        chosen: The candidate that is chosen by the rows as they are, then by each resample of `resamples`, shape (1 + B,).
        rows: The number of rows.
        is_share: Whether the metric is a share of rows, from 0 to 1.
    """
    own = float(options[chosen[0]](np.ones((1, rows)))[0])
    outside = _outside(rows).astype(float)
    count = outside.sum(1)
    some = count > 0
    weights = outside[some] * (rows / count[some, None])  # as those of resamples, they sum to the number of rows
    scores = np.empty(len(weights))
    for option in np.unique(chosen[1:][some]):
        those = chosen[1:][some] == option
        scores[those] = options[option](weights[those])
    return Corrected(own=own, estimate=_estimate(own, rows, scores, is_share=is_share))


def corrected(values: Floats, chosen: Integers, folds: Integers | None = None) -> Corrected:
    """Returns the corrected score of a choice.

    Args:
        values: The value of each row, shape (C, N); those of a candidate that is never chosen do not matter.
        chosen: The candidate that is chosen by the rows as they are, then by each resample of `resamples`, shape (1 + B,).
        folds: The fold of each row, shape (N,), if each fold has its own predictor; None if one predictor predicts all rows.
    """
    own, scores = values[chosen[0]], _scores_outside(values, chosen)
    mean = float(own.mean())
    between = _Between(ratio=added_ratio(own, folds), of_row=float(own.var()))
    return Corrected(own=mean, estimate=_estimate(mean, len(own), scores, is_share=_are_shares(own), between=between))


def corrected_difference(values: Floats, chosen: Integers, other: Integers) -> Estimate:
    """Returns the estimate of the difference of two choices on new rows, paired by row.

    Args:
        values: The value of each row, shape (C, N).
        chosen: The candidates of one choice, shape (1 + B,).
        other: The candidates of the choice that is subtracted, shape (1 + B,).
    """
    own = values[chosen[0]] - values[other[0]]
    scores = _scores_outside(values, chosen) - _scores_outside(values, other)
    return _estimate(float(own.mean()), len(own), scores, is_share=False)


def _scores_outside(values: Floats, chosen: Integers) -> Floats:
    """Returns the score of each resample's candidate on the rows that were not drawn; without resamples that drew all rows."""
    outside = _outside(values.shape[1])
    count = outside.sum(1)
    scores: Floats = np.where(outside, values[chosen[1:]], 0.0).sum(1)[count > 0] / count[count > 0]
    return scores


def _outside(rows: int) -> Bools:
    """Returns whether each resample does not draw a row, shape (B, rows)."""
    outside: Bools = resamples(rows)[1:] == 0
    return outside


def _estimate(own: float, rows: int, scores: Floats, *, is_share: bool, between: _Between = _Between()) -> Estimate:
    """Returns the mean of the scores of resamples with its interval.

    Args:
        own: The score of the chosen candidate on all rows, which is the estimate if there is only one row.
        rows: The number of rows.
        scores: The scores of the resamples.
        is_share: Whether the score is a share of rows, from 0 to 1.
        between: The variance that is added to that of the scores.
    """
    if rows < 2:
        return wilson(own, rows) if is_share else Estimate(value=own, low=-np.inf, high=np.inf)
    value, variance = float(scores.mean()), float(scores.var())
    if is_share:
        over_rows = variance / (value * (1 - value)) if variance > TINY else 1 / float(_outside(rows).sum(1).mean())
        count = 1 / (over_rows + between.ratio)
        return wilson(value * count, count)
    low, high = np.percentile(scores, [2.5, 97.5])
    factor = (1 + between.ratio * between.of_row / variance) ** 0.5 if variance > TINY else 1.0
    return widened(Estimate(value=value, low=float(low), high=float(high)), factor, bounds=(-np.inf, np.inf))


def _are_shares(values: Floats) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())
