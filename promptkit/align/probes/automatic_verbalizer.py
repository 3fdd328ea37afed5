"""An automatic verbalizer: the label words that tell a label's rows from the others' (PETAL, Schick et al. 2020, 2010.13641).

    odds[s, t] = mean over rows of t of logit p(s) - mean over the other rows of logit p(s)

which is PETAL's log-likelihood ratio with its two sides balanced. The words of a label are weighed alike, by the mean of
their log-probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.mapping import FLOOR, LabelMap
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.core.alignment import FitData, Needs, TopTokens
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class AutomaticVerbalizer(LearnedAligner):
    """Label words found from labeled rows."""

    words: int = 10
    """Label words of each label."""
    tokens: int = 500
    """Among how many tokens; one set for all rows, by the mean probability over the labeled rows."""
    name: ClassVar[str] = "automatic"

    def __post_init__(self) -> None:
        """Refuse a label without words."""
        super().__post_init__()
        if not 1 <= self.words <= self.tokens:
            raise InputError(
                "An automatic verbalizer needs at least one word for each label, and at least as many tokens as words",
                code="out-of-range",
                got=f"words={self.words}, tokens={self.tokens}",
                aligner=self.name,
                words=self.words,
                tokens=self.tokens,
            )

    @property
    def needs(self) -> Needs:
        """Labeled rows, and the tokens' log-probabilities of every row."""
        return Needs(labels=True, labeled=(self.rows,), tokens=(self._top,))

    def fit_labeled(self, support: FitData, places: Integers, gold: Integers) -> FittedAligner:
        """The words of its labeled rows."""
        top = self._top
        odds = log_odds(support.rows.tokens[top][places], gold, len(support.labels))
        weights = best_words(odds, self.words)
        found = LabelMap(sources=support.names[top], labels=support.labels, weights=weights, over="logprobs")
        return FittedAligner(scores=lambda outputs: found(outputs.tokens[top]), label_map=found)

    @property
    def _top(self) -> TopTokens:
        return TopTokens(self.tokens, self.rows)


def log_odds(logprobs: Floats, gold: Integers, labels: int) -> Floats:
    """Shape (rows, S) -> (S, K); 0 for a label that has no rows or all of them, as nothing tells it apart."""
    held = np.clip(logprobs, FLOOR, np.log1p(-np.finfo(float).eps))
    logits = held - np.log(-np.expm1(held))
    inside = np.eye(labels)[gold]
    counts = inside.sum(0)
    both = (counts > 0) & (counts < len(gold))
    own = logits.T @ inside / np.maximum(counts, 1)
    others = logits.T @ (1 - inside) / np.maximum(len(gold) - counts, 1)
    return np.where(both, own - others, 0.0)


def best_words(odds: Floats, words: int) -> Floats:
    """1 / words at the words of greatest odds of each label, else 0. Shape (S, K); ties go to the first."""
    chosen = np.argsort(-odds, axis=0, kind="stable")[:words]
    weights = np.zeros_like(odds)
    np.put_along_axis(weights, chosen, 1 / len(chosen), axis=0)
    return weights
