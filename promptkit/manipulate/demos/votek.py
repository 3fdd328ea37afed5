"""Fast vote-k: representative and diverse rows (Su et al. 2022, arXiv 2209.01975).

In the graph in which each row v points to its nearest rows, vote-k repeatedly selects the row u with the largest

    score(u) = sum over unselected v that point to u of rho^-(number of selected rows that v points to),  rho = 10.

The set does not depend on the row to be answered, so it is also the set to label first in an unlabeled pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.manipulate.demos.coreset import CoresetSelector
from promptkit.manipulate.demos.greedy import Numbers, select_greedily
from promptkit.manipulate.demos.pool import Indices, Pool
from promptkit.manipulate.demos.ranking import batches, top_per_class
from promptkit.manipulate.prompting.similarity import Vectors

RHO = 10.0
"""Discount of the votes of a row for each selected row that it points to."""
EXACT = 9
"""The largest difference of discounts, as a power of RHO, for which scores are exact integers in a pool of a million rows."""
NEIGHBORS = 150
"""Default number of neighbors in a large pool."""
SHARE = 0.05
"""Default number of neighbors in a small pool, as a share of its rows; the paper uses 150 neighbors for 3,000 rows."""


@dataclass(frozen=True)
class VoteK(CoresetSelector):
    """Shows k rows by fast vote-k, in the order of selection."""

    neighbors: int | None = None
    """Number of neighbors that each row points to; by default 150, or 5% of a pool of fewer than 3,000 rows."""
    name: ClassVar[str] = "votek"

    def coreset(self, pool: Pool, vectors: Vectors) -> list[tuple[int, Numbers]]:
        """Returns the rows by vote-k; a replacement is ranked by its votes after the last selection."""
        default = min(NEIGHBORS, max(1, round(SHARE * len(vectors))))
        votes = Votes(neighbor_graph(vectors, self.neighbors or default))
        selected = select_greedily(votes, np.arange(len(vectors)), pool)
        return [(index, votes.gains()) for index in selected]


class Votes:
    """The votes of a graph's rows, discounted as rows are selected."""

    def __init__(self, graph: Indices) -> None:
        """`graph` has the neighbors that each row points to, shape (rows, neighbors)."""
        self._graph = graph
        self._discounts = np.zeros(len(graph), dtype=np.int64)
        """The number of selected rows that each row points to."""
        self._votes = np.ones(len(graph), dtype=np.bool_)
        """Which rows have a vote: those that are not selected."""

    def gains(self) -> Numbers:
        """Returns the score of each row, shape (rows,).

        Scores are in units of the most discounted vote, so that they are integers, which are compared exactly. If discounts
        differ by more than RHO^EXACT, the unit is larger.
        """
        discounts = self._discounts[self._votes]
        if not discounts.size:
            return np.zeros(len(self._graph))
        unit = min(discounts.max(), discounts.min() + EXACT)
        weights = np.where(self._votes, RHO ** (unit - self._discounts), 0.0)
        repeated = np.repeat(weights, self._graph.shape[1])
        return np.bincount(self._graph.ravel(), weights=repeated, minlength=len(self._graph)).astype(np.float64)

    def take(self, place: int) -> None:
        """Selects a row and discounts the votes of the rows that point to it."""
        self._discounts += (self._graph == place).any(1)
        self._votes[place] = False


def neighbor_graph(vectors: Vectors, neighbors: int) -> Indices:
    """Returns the nearest other rows of each row, shape (rows, min(neighbors, rows - 1))."""
    indices = np.arange(len(vectors))
    one_class = np.zeros_like(indices)
    nearest = [
        top_per_class(vectors[batch] @ vectors.T, indices[batch], one_class, neighbors) for batch in batches(len(vectors))
    ]
    return np.concatenate(nearest)[:, : len(vectors) - 1]
