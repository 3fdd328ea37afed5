"""BLEU of all generated texts together (Papineni et al. 2002), by sacrebleu (Post 2018, 1804.08771)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.metrics.overlap import CorpusScore

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Scorer


class BLEU(CorpusScore):
    """The precision of word n-grams with a penalty for short texts, from 0 to 100: the score of sacrebleu with its defaults.

    It is computed from the counts of all rows, not as a mean over rows. A row without an answer has the empty text.
    """

    name: ClassVar[str] = "bleu"
    title: ClassVar[str] = "BLEU"

    def scorer(self) -> Scorer:
        """Returns the BLEU of sacrebleu."""
        from sacrebleu.metrics import bleu

        return bleu.BLEU()
