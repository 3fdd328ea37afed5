"""ROUGE (Lin 2004), by the package rouge-score: the F-scores of words, pairs of words and longest common subsequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import GENERATED, Interval
from promptkit.metrics.overlap import missing, texts

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class Rouge:
    """The mean F-score of the texts, with the best of the accepted answers; without stemming. Subclasses have the name."""

    name: ClassVar[str]
    title: ClassVar[str]
    is_default: ClassVar[bool] = False
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether texts were generated."""
        return rows.kind in GENERATED

    def values(self, rows: MetricInput) -> Floats:
        """Returns the F-score of each row.

        Raises:
            MissingPackage: rouge-score is not installed.
        """
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError:
            raise missing("rouge-score", self.name) from None
        scorer = RougeScorer([self.name])
        return np.array([scorer.score_multi(accepted, text)[self.name].fmeasure for text, accepted in texts(rows)], float)


class Rouge1(Rouge):
    """The F-score of words."""

    name: ClassVar[str] = "rouge1"
    title: ClassVar[str] = "ROUGE-1"


class Rouge2(Rouge):
    """The F-score of pairs of consecutive words."""

    name: ClassVar[str] = "rouge2"
    title: ClassVar[str] = "ROUGE-2"


class RougeL(Rouge):
    """The F-score of the longest common subsequence of words."""

    name: ClassVar[str] = "rougeL"
    title: ClassVar[str] = "ROUGE-L"
