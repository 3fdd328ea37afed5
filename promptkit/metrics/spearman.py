"""Spearman's rank correlation (Spearman 1904)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval
from promptkit.metrics.scale import has_values, values_on_scale

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.metrics.intervals import Statistic


class Spearman:
    """The correlation of the ranks of predicted and gold values, from -1 to 1. Equal values have their mean rank.

    It is 0 if all predicted or all gold values are equal: then the correlation is undefined, and nothing shows that the
    predictions order the rows. Undefined values of resamples are 0 as well.
    """

    name: ClassVar[str] = "spearman"
    title: ClassVar[str] = "Spearman"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether the rows have values on a scale."""
        return has_values(rows)

    def values(self, rows: MetricInput) -> Statistic:
        """Returns the correlation of each resample of the rows."""
        ranked = [_Ranks(values) for values in values_on_scale(rows)]

        def correlation(weights: Floats) -> Floats:
            gold, predicted = (each.centered(weights) for each in ranked)
            covariance = (weights * gold * predicted).sum(1)
            scale = np.sqrt((weights * gold**2).sum(1) * (weights * predicted**2).sum(1))
            is_defined = scale > 0
            correlations: Floats = np.where(is_defined, covariance / np.where(is_defined, scale, 1), 0.0)
            return correlations

        return correlation


class _Ranks:
    """The ranks of values in resamples."""

    def __init__(self, values: Floats) -> None:
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        self._starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._group = np.empty(len(values), int)
        self._group[self._order] = np.repeat(np.arange(len(self._starts)), np.diff(np.r_[self._starts, len(values)]))

    def centered(self, weights: Floats) -> Floats:
        """Returns the rank of each row minus the mean rank, for each resample, shape (R, N)."""
        counts = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        centers = np.cumsum(counts, axis=1) - counts / 2
        centered: Floats = centers[:, self._group] - weights.sum(1, keepdims=True) / 2
        return centered
