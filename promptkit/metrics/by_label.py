"""Precision, recall and F1 of single labels: families with one metric for each label, such as `recall@urgent`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.core.shown_text import label_text
from promptkit.metrics.base import Interval
from promptkit.metrics.indicators import indicators
from promptkit.metrics.intervals import Subset

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.metrics.intervals import Statistic


@dataclass(frozen=True, slots=True)
class _OfLabel:
    """A metric of one label."""

    label: str

    prefix: ClassVar[str]
    is_default: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    @classmethod
    def members(cls, rows: MetricInput) -> list[Self]:
        """Returns the metric of each label."""
        return [cls(label) for label in rows.labels]

    @property
    def name(self) -> str:
        """The key in JSON."""
        return f"{self.prefix}{self.label}"

    @property
    def title(self) -> str:
        """The title in tables."""
        return f"{self.prefix}{label_text(self.label)}"

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether all rows share their labels, or texts their possible answers, and this is one of them."""
        return self.label in rows.labels

    def _columns(self, rows: MetricInput) -> tuple[Floats, Floats]:
        """Returns whether the label is correct, and whether it is predicted, as 0 or 1, shape (N,) each."""
        column = rows.labels.index(self.label)
        gold, predicted = indicators(rows)
        return gold[:, column], predicted[:, column]


@dataclass(frozen=True, slots=True)
class LabelPrecision(_OfLabel):
    """The share of the rows for which a label is predicted that have it; 0 if it is never predicted."""

    prefix: ClassVar[str] = "precision@"
    interval: ClassVar[Interval] = "wilson"

    def values(self, rows: MetricInput) -> Subset:
        """Returns which of the rows with the prediction have the label."""
        gold, predicted = self._columns(rows)
        return Subset(values=gold, counted=predicted)


@dataclass(frozen=True, slots=True)
class LabelRecall(_OfLabel):
    """The share of the rows with a label for which it is predicted; 0 if no row has it."""

    prefix: ClassVar[str] = "recall@"
    interval: ClassVar[Interval] = "wilson"

    def values(self, rows: MetricInput) -> Subset:
        """Returns for which of the rows with the label it is predicted."""
        gold, predicted = self._columns(rows)
        return Subset(values=predicted, counted=gold)


@dataclass(frozen=True, slots=True)
class LabelF1(_OfLabel):
    """The harmonic mean of the precision and the recall of a label; 0 if it does not occur and is never predicted."""

    prefix: ClassVar[str] = "f1@"
    interval: ClassVar[Interval] = "bootstrap"

    def values(self, rows: MetricInput) -> Statistic:
        """Returns the score of each resample of the rows."""
        gold, predicted = self._columns(rows)

        def f1(weights: Floats) -> Floats:
            scores: Floats = 2 * (weights @ (gold * predicted)) / np.maximum(weights @ (gold + predicted), 1)
            return scores

        return f1
