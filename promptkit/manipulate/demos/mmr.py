"""Selection by maximal marginal relevance: similar to the row, dissimilar to each other (Carbonell and Goldstein 1998).

    next = argmax over d not in S of lambda cos(x, d) - (1 - lambda) max over s in S of cos(s, d),

where S is the current selection. The first demonstration is the nearest row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.manipulate.demos.greedy import GreedySelector, GreedyState, Numbers


@dataclass(frozen=True)
class MMR(GreedySelector):
    """Shows k rows by maximal marginal relevance, in the order of selection."""

    relevance: float = 0.5
    """Lambda, from 0 (only dissimilarity to the selection counts) to 1 (only similarity to the row counts)."""
    name: ClassVar[str] = "mmr"

    def initial_state(self, relevance: Numbers, vectors: Numbers) -> GreedyState:
        """Returns the relevance of the candidates, with nothing selected."""
        return _MarginalRelevance(relevance, vectors, self.relevance)


class _MarginalRelevance:
    def __init__(self, relevance: Numbers, vectors: Numbers, weight: float) -> None:
        self._relevance, self._vectors, self._weight = relevance, vectors, weight
        self._redundancy: Numbers | None = None
        """Each candidate's largest cosine to a selected one."""

    def gains(self) -> Numbers:
        if self._redundancy is None:
            return self._relevance
        return self._weight * self._relevance - (1 - self._weight) * self._redundancy

    def take(self, place: int) -> None:
        cosines = self._vectors @ self._vectors[place]
        self._redundancy = cosines if self._redundancy is None else np.maximum(self._redundancy, cosines)
