"""kNN prompting (Xu et al. 2023, 2303.13824): the labels of the anchors whose next-token distribution is nearest.

    d(anchor, x) = KL(p_anchor || p_x) = sum_v p_anchor(v) log(p_anchor(v) / p_x(v))

over the source tokens, with the rest of the vocabulary as one token more, so that both sides are distributions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.mapping import FLOOR, TINY
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.core.alignment import FitData, Needs, TopTokens
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

RESOLVED = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, kw_only=True)
class KNNPrompting(LearnedAligner):
    """The majority of the k labeled rows whose next-token distributions are nearest."""

    k: int = 3
    """How many anchors vote."""
    tokens: int = 500
    """How many tokens stand apart from the rest; one set for all rows, by the mean probability over the labeled rows."""
    name: ClassVar[str] = "knn"

    def __post_init__(self) -> None:
        """Refuse a vote of none."""
        super().__post_init__()
        if self.k < 1 or self.tokens < 1:
            raise InputError(
                "kNN prompting needs at least one neighbor and at least one token",
                code="out-of-range",
                got=f"k={self.k}, tokens={self.tokens}",
                aligner=self.name,
                k=self.k,
                tokens=self.tokens,
            )

    @property
    def needs(self) -> Needs:
        """Labeled rows, no fewer than neighbors, and the tokens' log-probabilities of every row."""
        return Needs(labels=True, labeled=(self.rows,), labeled_fewest=self.k, tokens=(self._top,))

    def fit_labeled(self, support: FitData, places: Integers, gold: Integers) -> FittedAligner:
        """Its labeled rows are the anchors."""
        anchors, top, count = support.rows.tokens[self._top][places], self._top, support.rows.logprobs.shape[1]
        return FittedAligner(scores=lambda outputs: neighbor_scores(anchors, gold, outputs.tokens[top], count, self.k))

    @property
    def _top(self) -> TopTokens:
        return TopTokens(self.tokens, self.rows)


def neighbor_scores(anchors: Floats, gold: Integers, queries: Floats, labels: int, k: int) -> Floats:
    """The logarithm of each label's share of k votes and one more, shape (rows, K).

    The one more is divided among the labels by exp(-d) of the nearest anchor of each, so that it settles ties and nothing
    else. anchors: shape (anchors, M), queries: shape (rows, M), log-probabilities; gold: shape (anchors,).
    """
    distances = divergences(with_rest(anchors), with_rest(queries))
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    of_label = np.eye(labels)[gold]
    votes = of_label[nearest].sum(1)
    apart = [distances[:, gold == label].min(1, initial=np.inf) for label in range(labels)]
    closeness = np.exp(-np.stack(apart, 1) + np.min(apart, axis=0)[:, None])
    votes = votes + closeness / closeness.sum(1, keepdims=True)
    scores: Floats = np.log(np.maximum(votes / (min(k, len(gold)) + 1), TINY))
    return scores


def with_rest(logprobs: Floats) -> Floats:
    """The tokens and, last, all others together. Shape (rows, M) -> (rows, M + 1), rows that sum to 1.

    The others have at least what a float32 resolves of 1: what is less is rounding, which a divergence would take for news.
    """
    held = np.maximum(logprobs, FLOOR)
    rest = np.log(np.maximum(1 - np.exp(held).sum(1, keepdims=True), RESOLVED))
    whole = np.hstack([held, rest])
    normalized: Floats = whole - np.logaddexp.reduce(whole, axis=1, keepdims=True)
    return normalized


def divergences(anchors: Floats, queries: Floats) -> Floats:
    """KL(anchor || query) in nats, shape (queries, anchors)."""
    shares = np.exp(anchors)
    apart: Floats = (shares * anchors).sum(1) - queries @ shares.T
    return np.maximum(apart, 0)
