"""Bayesian-guided label mapping, BLM and BLM+ (Cai et al. 2024, 2410.24018): every source class speaks for every label, by
how often it is seen with it. On a language model it is a verbalizer that is learned without gradients.

    W[s, t] = F[s, t] / (sum_t F[s, t] + lap), each column then divided by its sum

F is counted from the likeliest source class of each row (BLM), or summed from the probabilities of the top
k = max(1, int(alpha K)) (BLM+). Where a source class never occurs, or lap is 0, nothing is divided by 0; a label without
rows has every source class alike, and is kept from being the likeliest (see `labeled`).
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
    """BLM: F counts the likeliest source class of each row."""

    lap: float = 1.0
    """Laplace smoothing: what rare source classes lose."""
    name: ClassVar[str] = "blm"

    def __post_init__(self) -> None:
        """Refuse what is no smoothing."""
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
        """Shape (S, K); columns sum to 1."""
        return bayesian(self.counts(sources, gold), self.lap)

    def counts(self, sources: Sources, gold: Integers) -> Floats:
        """F, shape (S, K)."""
        return frequencies(sources.logprobs, gold, len(sources.labels))


@dataclass(frozen=True, kw_only=True)
class BayesianPlus(Bayesian):
    """BLM+: F sums the probabilities of the top k source classes of each row."""

    alpha: float = 0.15
    """k = max(1, int(alpha K)), of S at most; as published 0.15, and on a language model more is better."""
    name: ClassVar[str] = "blm+"

    def __post_init__(self) -> None:
        """Refuse what leaves no source class."""
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
        """F, shape (S, K)."""
        labels, most = len(sources.labels), len(sources.names)
        return soft_frequencies(sources.logprobs, gold, labels, max(1, int(min(self.alpha * labels, most))))


def bayesian(counts: Floats, lap: float) -> Floats:
    """W from F, shape (S, K)."""
    given = counts.sum(1, keepdims=True) + lap
    shares = np.divide(counts, given, out=np.zeros_like(counts), where=given > 0)
    sums = shares.sum(0)
    weights: Floats = np.where(sums > 0, shares / np.where(sums > 0, sums, 1), 1 / len(counts))
    return weights
