"""BLEU of all generated texts together (Papineni et al. 2002), by sacrebleu (Post 2018, 1804.08771)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import GENERATED, Interval
from promptkit.metrics.overlap import corpus_statistic, missing

if TYPE_CHECKING:
    from promptkit.metrics.intervals import Statistic


class BLEU:
    """The precision of word n-grams with a penalty for short texts, from 0 to 100: the score of sacrebleu with its defaults.

    It is computed from the counts of all rows, not as a mean over rows. A row without an answer has the empty text.
    """

    name: ClassVar[str] = "bleu"
    title: ClassVar[str] = "BLEU"
    is_default: ClassVar[bool] = False
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether texts were generated."""
        return rows.kind in GENERATED

    def values(self, rows: MetricInput) -> Statistic:
        """Returns the score of each resample of the rows.

        Raises:
            MissingPackage: sacrebleu is not installed.
        """
        try:
            from sacrebleu.metrics import bleu
        except ImportError:
            raise missing("sacrebleu", self.name) from None
        return corpus_statistic(bleu.BLEU(), rows)
