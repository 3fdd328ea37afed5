"""chrF of all generated texts together (Popovic 2015), by sacrebleu (Post 2018, 1804.08771)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.metrics.overlap import CorpusScore

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Scorer


class ChrF(CorpusScore):
    """The F-score of character n-grams, from 0 to 100: the score of sacrebleu with its defaults.

    It is computed from the counts of all rows, not as a mean over rows. A row without an answer has the empty text.
    """

    name: ClassVar[str] = "chrf"
    title: ClassVar[str] = "chrF"

    def scorer(self) -> Scorer:
        """Returns the chrF of sacrebleu."""
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()
