"""Bayesian-guided label mapping, BLM and BLM+ (Cai et al. 2024, 2410.24018).

Every source class contributes to every label, in proportion to how often both occur together:

    W[s, t] = F[s, t] / (sum_t F[s, t] + lap), where each column is then divided by its sum

F counts the most likely source class of each row (BLM), or sums the probabilities of the top k = max(1, int(alpha K)) source
classes (BLM+). On a language model this is a verbalizer that is learned without gradients. A label without rows gets uniform
weights, and is never predicted (see `FittedAligner`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.base import LabelMapping
from promptkit.align.labelmap.mapping import frequencies, soft_frequencies
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.align.labelmap.base import Sources
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Bayesian(LabelMapping):
    """Bayesian-guided label mapping, BLM: F counts the most likely source class of each row."""

    lap: float = 1.0
    """Laplace smoothing; larger values reduce the weights of rare source classes."""
    name: ClassVar[str] = "blm"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.lap < 0:
            raise InputError(
                f"The Laplace smoothing of {self.name} must be at least 0",
                code="out-of-range",
                got=f"lap={self.lap}",
                aligner=self.name,
                lap=self.lap,
            )

    def weights(self, sources: Sources, gold: Integers) -> Floats:
        """Estimates the weights, shape (S, K); columns sum to 1."""
        return bayesian_weights(self.counts(sources, gold), self.lap)

    def counts(self, sources: Sources, gold: Integers) -> Floats:
        """Computes F, shape (S, K)."""
        return frequencies(sources.logprobs, gold, len(sources.labels))


@dataclass(frozen=True, kw_only=True)
class BayesianPlus(Bayesian):
    """Bayesian-guided label mapping, BLM+: F sums the probabilities of the top k source classes of each row."""

    alpha: float = 0.15
    """k = max(1, int(alpha K)), at most the number of source classes. 0.15 is the published value; language models benefit from
    larger values."""
    name: ClassVar[str] = "blm+"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.alpha <= 0:
            raise InputError(
                f"The share alpha of {self.name} must be greater than 0",
                code="out-of-range",
                got=f"alpha={self.alpha}",
                aligner=self.name,
                alpha=self.alpha,
            )

    def counts(self, sources: Sources, gold: Integers) -> Floats:
        """Computes F, shape (S, K)."""
        labels = len(sources.labels)
        top = max(1, int(min(self.alpha * labels, len(sources.names))))
        return soft_frequencies(sources.logprobs, gold, labels, top)


def bayesian_weights(counts: Floats, lap: float) -> Floats:
    """Computes W from F, shape (S, K); a source class that never occurs has weight 0."""
    totals = counts.sum(1, keepdims=True) + lap
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    sums = shares.sum(0)
    weights: Floats = np.where(sums > 0, shares / np.where(sums > 0, sums, 1), 1 / len(counts))
    return weights
