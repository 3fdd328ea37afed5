"""A demonstration of each sort: the row nearest to the center of each of k clusters (Auto-CoT, Zhang et al. 2022, 2210.03493).

Vectors are clustered by k-means. Where classes are balanced, the nearest row of a class that may still give one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.manipulate.demos.covering import CoresetSelector
from promptkit.manipulate.demos.greedy import Numbers, select_greedily
from promptkit.manipulate.demos.pool import Pool
from promptkit.manipulate.prompting.similarity import Vectors

ELSEWHERE = 10.0
"""Added to the distance of other clusters' rows, taken only where a cluster has none left; itself it is at most 2."""


@dataclass(frozen=True)
class diverse(CoresetSelector):  # noqa: N801 - a selector's class name is its spelling everywhere
    """k rows by k-means, that of the largest cluster first."""

    seed: int = 0
    """Of the clusters' first centres."""
    name: ClassVar[str] = "diverse"

    def places(self, pool: Pool, vectors: Vectors) -> list[tuple[int, Numbers]]:
        """Each cluster's nearest row to its center."""
        distances = self._distances(vectors)
        taken = select_greedily(_InTurn(distances), np.arange(len(vectors)), pool)
        return [(number, -distance) for number, distance in zip(taken, distances, strict=True)]

    def _distances(self, vectors: Vectors) -> list[Numbers]:
        """How far every row is from each center, that of the largest cluster first."""
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than clusters: some stay empty
            fitted = KMeans(n_clusters=self.k, n_init=10, random_state=self.seed).fit(vectors)
        sizes = np.bincount(fitted.labels_, minlength=self.k)
        distances = fitted.transform(vectors).astype(np.float64)
        return [
            distances[:, cluster] + ELSEWHERE * (fitted.labels_ != cluster) for cluster in np.argsort(-sizes, kind="stable")
        ]


class _InTurn:
    """A row for each cluster in turn."""

    def __init__(self, distances: list[Numbers]) -> None:
        self._distances = distances
        self._turn = 0

    def gains(self) -> Numbers:
        return -self._distances[self._turn]

    def take(self, place: int) -> None:
        self._turn += 1
