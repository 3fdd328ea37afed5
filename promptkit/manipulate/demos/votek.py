"""Demonstrations that many rows are near to, and not the same rows: fast vote-k (Su et al. 2022, 2209.01975).

In the graph in which each row v points to its nearest rows, repeatedly the row u with the largest

    score(u) = sum over v not taken that point to u of rho^-(number of rows taken that v points to),  rho = 10.

The set depends on no row that is asked for: it is also the one to label first where nothing is labeled yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.manipulate.demos.covering import CoresetSelector
from promptkit.manipulate.demos.greedy import Numbers, select_greedily
from promptkit.manipulate.demos.pool import Indices, Pool
from promptkit.manipulate.demos.ranking import batches, top_per_class
from promptkit.manipulate.prompting.similarity import Vectors

RHO = 10.0
NEIGHBORS = 150
SHARE = 0.05
"""The paper has 150 neighbors among 3,000 rows."""


@dataclass(frozen=True)
class votek(CoresetSelector):  # noqa: N801 - a selector's class name is its spelling everywhere
    """k rows by fast vote-k, in the order in which they are taken."""

    neighbors: int | None = None
    """How many rows each points to: unless given 150, or a twentieth of a pool of fewer than 3,000 rows."""
    name: ClassVar[str] = "votek"

    def places(self, pool: Pool, vectors: Vectors) -> list[tuple[int, Numbers]]:
        """See the formula above."""
        usual = min(NEIGHBORS, max(1, round(SHARE * len(vectors))))
        votes = Votes(graph(vectors, self.neighbors or usual))
        taken = select_greedily(votes, np.arange(len(vectors)), pool)
        return [(number, votes.gains()) for number in taken]


class Votes:
    """The scores of a graph's rows as some are taken."""

    def __init__(self, pointed: Indices) -> None:
        """`pointed`: shape (rows, neighbors)."""
        self._pointed = pointed
        self._weights = np.ones(len(pointed))
        """What each row's votes count: 0 once it is taken."""

    def gains(self) -> Numbers:
        """The score of each row."""
        weights = np.repeat(self._weights, self._pointed.shape[1])
        return np.bincount(self._pointed.ravel(), weights=weights, minlength=len(self._pointed)).astype(np.float64)

    def take(self, place: int) -> None:
        """The votes of those that point to it count for less."""
        self._weights[(self._pointed == place).any(1)] /= RHO
        self._weights[place] = 0


def graph(vectors: Vectors, neighbors: int) -> Indices:
    """The nearest other rows that each row points to, shape (rows, neighbors); of a small pool all the others."""
    own = np.arange(len(vectors))
    found = [top_per_class(vectors[block] @ vectors.T, own[block], 0 * own, neighbors) for block in batches(len(vectors))]
    return np.concatenate(found)[:, : len(vectors) - 1]
