"""kNN prompting: the labels of the nearest next-token distributions (Xu et al. 2023, 2303.13824).

    d(anchor, x) = KL(p_anchor || p_x) = sum_v p_anchor(v) log(p_anchor(v) / p_x(v))

The sum runs over the source tokens and one more token that collects the rest of the vocabulary, so that both sides are
distributions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.align.logprobs import LOG_TINY, TINY
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, LabeledOutputs, Needs, Outputs, RowNeed
from promptkit.core.state import stateful
from promptkit.needs.labeled_rows import LabeledRows
from promptkit.needs.source_logprobs import TOKENS, SourceLogprobs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

MIN_REST = float(np.finfo(np.float32).eps)
"""Smallest probability of the rest of the vocabulary; anything less is rounding error of float32."""


@dataclass(frozen=True, kw_only=True)
class KNNPrompting(LearnedAligner):
    """The majority label of the k labeled rows with the nearest next-token distributions."""

    k: int = 3
    """Number of neighbors that vote."""
    tokens: int = TOKENS
    """Number of source tokens of a language model; the same tokens for all rows, chosen by their mean probability
    over the labeled rows."""
    name: ClassVar[str] = "knn"

    def __post_init__(self) -> None:
        """Checks the settings."""
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
        """At least k labeled rows, and the source tokens' log-probabilities of every row."""
        return (self.rows, self._sources)

    @property
    def rows(self) -> LabeledRows:
        """The labeled rows, at least as many as vote."""
        return LabeledRows(self.per_class, self.seed, self.k)

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Stores the labeled rows as anchors."""
        anchors = rows.outputs[self._sources]
        neighbors = NeighborScores(anchors=anchors, gold=rows.gold, labels=len(data.labels), k=self.k, sources=self._sources)
        return FittedAligner(scorer=neighbors)

    @property
    def _sources(self) -> SourceLogprobs:
        return SourceLogprobs(self.tokens, self.rows)


@stateful("neighbor-scores")
@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborScores:
    """Computes label scores by the nearest labeled rows."""

    anchors: Floats
    """Log-probabilities of the source tokens for the labeled rows, shape (anchors, tokens)."""
    gold: Integers
    """Indices of the anchors' labels, shape (anchors,)."""
    labels: int
    """Number of labels."""
    k: int
    """Number of neighbors that vote."""
    sources: RowNeed[object]
    """The need for the source tokens' log-probabilities."""

    @property
    def reads(self) -> tuple[RowNeed[object], ...]:
        """The source tokens' log-probabilities."""
        return (self.sources,)

    def __call__(self, outputs: Outputs) -> Floats:
        """Returns label scores, shape (rows, K)."""
        return neighbor_scores(self.anchors, self.gold, outputs[self.sources], self.labels, self.k)


def neighbor_scores(anchors: Floats, gold: Integers, queries: Floats, labels: int, k: int) -> Floats:
    """Computes the logarithm of each label's share of the k votes of the nearest anchors.

    One further vote is divided among the labels by exp(-d) of each label's nearest anchor; it only breaks ties.

    Args:
        anchors: Log-probabilities of the source tokens, shape (anchors, tokens).
        gold: Indices of the anchors' labels, shape (anchors,).
        queries: Log-probabilities of the source tokens, shape (queries, tokens).
        labels: Number of labels K.
        k: Number of neighbors that vote.

    Returns:
        Scores in natural-log units, shape (queries, K).
    """
    distances = divergences(with_rest(anchors), with_rest(queries))
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    votes = np.eye(labels)[gold][nearest].sum(1)
    by_label = [distances[:, gold == label].min(1, initial=np.inf) for label in range(labels)]
    closeness = np.exp(-np.stack(by_label, 1) + np.min(by_label, axis=0)[:, None])
    votes = votes + closeness / closeness.sum(1, keepdims=True)
    scores: Floats = np.log(np.maximum(votes / (min(k, len(gold)) + 1), TINY))
    return scores


def with_rest(logprobs: Floats) -> Floats:
    """Appends the rest of the vocabulary as one token and normalizes, shape (rows, tokens) -> (rows, tokens + 1)."""
    finite = np.maximum(logprobs, LOG_TINY)
    rest = np.log(np.maximum(1 - np.exp(finite).sum(1, keepdims=True), MIN_REST))
    unnormalized = np.hstack([finite, rest])
    normalized: Floats = unnormalized - np.logaddexp.reduce(unnormalized, axis=1, keepdims=True)
    return normalized


def divergences(anchors: Floats, queries: Floats) -> Floats:
    """Computes KL(anchor || query) in nats for all pairs, shape (queries, anchors).

    It is two matrix products, unlike scikit-learn's neighbors, which call a Python function for each pair.
    """
    probabilities = np.exp(anchors)
    distances: Floats = (probabilities * anchors).sum(1) - queries @ probabilities.T
    return np.maximum(distances, 0)
