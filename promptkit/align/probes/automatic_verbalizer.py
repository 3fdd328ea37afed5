"""Automatic verbalizer: finds label words from labeled rows (PETAL, Schick et al. 2020, 2010.13641).

    odds[s, t] = mean over rows of label t of logit p(s) - mean over the other rows of logit p(s)

This is the log-likelihood ratio of PETAL with both sides balanced. A label's score is the mean log-probability of its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.mapping import LabelMap, LabelMapScores
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.align.logprobs import LOG_TINY
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, LabeledOutputs, Needs
from promptkit.needs.source_logprobs import TOKENS, SourceLogprobs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class AutomaticVerbalizer(LearnedAligner):
    """A verbalizer with label words that are found from labeled rows."""

    words: int = 10
    """Label words for each label."""
    tokens: int = TOKENS
    """Number of candidate tokens of a language model; the same tokens for all rows, chosen by their mean probability
    over the labeled rows."""
    name: ClassVar[str] = "automatic"

    def __post_init__(self) -> None:
        """Checks the settings."""
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
        """The labeled rows, and the candidate tokens' log-probabilities of every row."""
        return (self.rows, self._sources)

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Chooses the label words."""
        sources = self._sources
        odds = log_odds(rows.outputs[sources], rows.gold, len(data.labels))
        weights = best_words(odds, self.words)
        label_map = LabelMap(sources=data[sources], labels=data.labels, weights=weights, over="logprobs")
        return FittedAligner(scorer=LabelMapScores(label_map=label_map, columns=(sources,)), label_map=label_map)

    @property
    def _sources(self) -> SourceLogprobs:
        return SourceLogprobs(self.tokens, self.rows)


def log_odds(logprobs: Floats, gold: Integers, labels: int) -> Floats:
    """Computes the odds of each token for each label, shape (rows, tokens) -> (tokens, K).

    They are 0 for a label that has no rows or all of them, because there is nothing to compare it with.
    """
    clipped = np.clip(logprobs, LOG_TINY, np.log1p(-np.finfo(float).eps))
    logits = clipped - np.log(-np.expm1(clipped))
    one_hot = np.eye(labels)[gold]
    counts = one_hot.sum(0)
    of_label = logits.T @ one_hot / np.maximum(counts, 1)
    of_others = logits.T @ (1 - one_hot) / np.maximum(len(gold) - counts, 1)
    return np.where((counts > 0) & (counts < len(gold)), of_label - of_others, 0.0)


def best_words(odds: Floats, words: int) -> Floats:
    """Returns weights of 1 / `words` for the words with the highest odds of each label, shape (tokens, K).

    Ties go to the first token.
    """
    chosen = np.argsort(-odds, axis=0, kind="stable")[:words]
    weights = np.zeros_like(odds)
    np.put_along_axis(weights, chosen, 1 / len(chosen), axis=0)
    return weights
