"""Demonstrations near the row and unlike each other: maximal marginal relevance (Carbonell and Goldstein 1998).

    next = argmax over d not in S of lambda cos(x, d) - (1 - lambda) max over s in S of cos(s, d)

S is what is taken so far; the first is the nearest row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.manipulate.demos.greedy import GreedySelector, GreedyState, Numbers


@dataclass(frozen=True)
class mmr(GreedySelector):  # noqa: N801 - a selector's class name is its spelling everywhere
    """k rows by maximal marginal relevance, in the order in which they are taken."""

    relevance: float = 0.5
    """Lambda, from 0 (unlike those taken, whatever the row) to 1 (the nearest)."""
    name: ClassVar[str] = "mmr"

    def taking(self, relevance: Numbers, vectors: Numbers) -> GreedyState:
        """See the formula above."""
        return _Marginal(relevance, vectors, self.relevance)


class _Marginal:
    def __init__(self, relevance: Numbers, vectors: Numbers, weight: float) -> None:
        self._relevance, self._vectors, self._weight = relevance, vectors, weight
        self._closest: Numbers | None = None
        """Each candidate's cosine to the nearest that is taken."""

    def gains(self) -> Numbers:
        if self._closest is None:
            return self._relevance
        return self._weight * self._relevance - (1 - self._weight) * self._closest

    def take(self, place: int) -> None:
        cosines = self._vectors @ self._vectors[place]
        self._closest = cosines if self._closest is None else np.maximum(self._closest, cosines)
