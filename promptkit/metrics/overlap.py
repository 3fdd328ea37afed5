"""The base class of scores of sacrebleu, and the texts that metrics of text overlap compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.errors import missing_extra
from promptkit.metrics.base import GENERATED, Interval

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Scorer

    from promptkit.core.arrays import Floats
    from promptkit.core.errors import MissingPackage
    from promptkit.core.metric_input import MetricInput
    from promptkit.metrics.intervals import Statistic

EXTRA = "metrics"
"""The extra with the packages of these metrics."""


def texts(rows: MetricInput) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the prediction and the accepted answers of each row; a row without an answer has the empty text."""
    for prediction, accepted in zip(rows.predictions, rows.accepted, strict=True):
        yield prediction or "", accepted


class CorpusScore(ABC):
    """A score of sacrebleu, from 0 to 100, which is computed from the counts of all texts together."""

    name: ClassVar[str]
    title: ClassVar[str]
    is_default: ClassVar[bool] = False
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def scorer(self) -> Scorer:
        """Returns the metric of sacrebleu."""

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether texts were generated."""
        return rows.kind in GENERATED

    def values(self, rows: MetricInput) -> Statistic:
        """Returns the score of each resample of the rows.

        The texts are read once: a resample adds the counts of its rows, from which the score is computed.

        Raises:
            MissingPackage: sacrebleu is not installed.
        """
        try:
            scorer = self.scorer()
        except ImportError:
            raise missing("sacrebleu", self.name) from None
        pairs = texts(rows)
        counts = [scorer._extract_corpus_statistics([text], [[answer] for answer in accepted])[0] for text, accepted in pairs]
        table = np.array(counts, float)

        def scores(weights: Floats) -> Floats:
            sums = np.rint(weights @ table).astype(int).tolist()
            return np.array([scorer._compute_score_from_stats(each).score for each in sums], float)

        return scores


def missing(package: str, metric: str) -> MissingPackage:
    """Returns the error for a package that is not installed.

    Args:
        package: The package.
        metric: The metric that needs it.
    """
    return missing_extra(package, EXTRA, f"The metric {metric}")
