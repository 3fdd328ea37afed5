"""Selection by a determinantal point process: similar to the row and diverse (CEIL; Ye et al. 2023, arXiv 2302.05698).

    L = diag(r) S diag(r),  S_ij = (1 + cos(i, j)) / 2,  r_i = exp((q_i - max q) / (2 s)),  q_i = (1 + cos(x, i)) / 2,  s = 0.1

Greedy MAP inference adds the row that maximizes det(L_S), with incremental updates of the Cholesky factor (Chen, Zhang and Zhou
2018, arXiv 1709.05135): adding i multiplies the determinant by d_i^2, which is L_ii minus the squared norm of column i of the
factor. Selection stops when no d_i^2 is positive, because the candidates' rank is exhausted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.manipulate.demos.greedy import GreedySelector, GreedyState, Numbers

SCALE = 0.1
"""The scale s of the relevance."""
EPSILON = 1e-10
"""d_i^2 below this share of L_ii is rounding error."""


@dataclass(frozen=True)
class DPP(GreedySelector):
    """Shows k rows by greedy maximization of the determinant, in the order of selection."""

    name: ClassVar[str] = "dpp"

    def initial_state(self, relevance: Numbers, vectors: Numbers) -> GreedyState:
        """Returns the kernel of the candidates."""
        quality = (1 + relevance) / 2
        return _Determinant(np.exp((quality - quality.max()) / (2 * SCALE)), vectors)


class _Determinant:
    def __init__(self, weight: Numbers, vectors: Numbers) -> None:
        self._weight, self._vectors = weight, vectors
        self._diagonal = weight**2 * (1 + (vectors**2).sum(1)) / 2
        """L_ii of each candidate."""
        self._residual = self._diagonal
        """d_i^2 of each candidate."""
        self._factor = np.zeros((0, len(weight)))
        """The Cholesky factor, one row per selected candidate."""

    def gains(self) -> Numbers:
        """Returns the logarithm of the factor by which each candidate multiplies the determinant."""
        positive = self._residual > EPSILON * self._diagonal
        gains: Numbers = np.log(self._residual, where=positive, out=np.full_like(self._residual, -np.inf))
        return gains

    def take(self, place: int) -> None:
        kernel = self._weight[place] * (1 + self._vectors @ self._vectors[place]) / 2 * self._weight
        row = (kernel - self._factor[:, place] @ self._factor) / np.sqrt(self._residual[place])
        self._factor = np.vstack([self._factor, row])
        self._residual = self._residual - row**2
