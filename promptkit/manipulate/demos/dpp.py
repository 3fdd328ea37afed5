"""Demonstrations near the row and diverse as a set: a determinantal point process (CEIL, Ye et al. 2023, 2302.05698).

    L = diag(r) S diag(r),  S_ij = (1 + cos(i, j)) / 2,  r_i = exp((q_i - max q) / (2 s)),  q_i = (1 + cos(x, i)) / 2,  s = 0.1

Greedily the row that makes det(L_S) largest, by an update of the Cholesky factor (Chen, Zhang and Zhou 2018, 1709.05135):
taking i multiplies the determinant by d_i^2, which is L_ii less the squares in i's column of the factor. Where none is
above 0 the candidates' dimensions are used up, and it stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.manipulate.demos.greedy import GreedySelector, GreedyState, Numbers

SCALE = 0.1
NOTHING = 1e-10
"""The share of a candidate's own L_ii below which what is left of it is rounding."""


@dataclass(frozen=True)
class dpp(GreedySelector):  # noqa: N801 - a selector's class name is its spelling everywhere
    """k rows by greedy maximisation of the determinant, in the order in which they are taken."""

    name: ClassVar[str] = "dpp"

    def taking(self, relevance: Numbers, vectors: Numbers) -> GreedyState:
        """See the formula above."""
        quality = (1 + relevance) / 2
        return _Determinant(np.exp((quality - quality.max()) / (2 * SCALE)), vectors)


class _Determinant:
    def __init__(self, weight: Numbers, vectors: Numbers) -> None:
        self._weight, self._vectors = weight, vectors
        self._whole = weight**2 * (1 + (vectors**2).sum(1)) / 2
        """L_ii of each candidate."""
        self._left = self._whole
        """d_i^2 of each candidate."""
        self._factor = np.zeros((0, len(weight)))
        """A row of the Cholesky factor for each that is taken."""

    def gains(self) -> Numbers:
        """Logarithm of what the determinant is multiplied by."""
        positive = self._left > NOTHING * self._whole
        gains: Numbers = np.log(self._left, where=positive, out=np.full_like(self._left, -np.inf))
        return gains

    def take(self, place: int) -> None:
        kernel = self._weight[place] * (1 + self._vectors @ self._vectors[place]) / 2 * self._weight
        row = (kernel - self._factor[:, place] @ self._factor) / np.sqrt(self._left[place])
        self._factor = np.vstack([self._factor, row])
        self._left = self._left - row**2
