"""Diverse selection by clustering: the row nearest to each of k centroids (Auto-CoT, Zhang et al. 2022, arXiv 2210.03493).

The vectors are clustered by k-means. With `balanced`, only rows of a class whose quota is not exhausted are considered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.manipulate.demos.coreset import CoresetSelector
from promptkit.manipulate.demos.greedy import Numbers, select_greedily
from promptkit.manipulate.demos.kmeans import fit_kmeans
from promptkit.manipulate.demos.pool import Pool
from promptkit.manipulate.prompting.similarity import Vectors

OTHER_CLUSTER = 10.0
"""Added to the distance (at most 2) of rows of other clusters, which are used only if a cluster has no row left."""


@dataclass(frozen=True)
class Diverse(CoresetSelector):
    """Shows the row nearest to each of k centroids, that of the largest cluster first."""

    seed: int = 0
    """Seed of k-means."""
    name: ClassVar[str] = "diverse"

    def coreset(self, pool: Pool, vectors: Vectors) -> list[tuple[int, Numbers]]:
        """Returns the nearest row to each centroid."""
        distances = self._distances(vectors)
        chosen = select_greedily(_PerCluster(distances), np.arange(len(vectors)), pool)
        return [(index, -distance) for index, distance in zip(chosen, distances, strict=True)]

    def _distances(self, vectors: Vectors) -> list[Numbers]:
        """Returns the distances of all rows to each centroid, that of the largest cluster first."""
        means = fit_kmeans(vectors, self.k, self.seed)
        sizes = np.bincount(means.labels, minlength=self.k)
        distances = means.distances.astype(np.float64)
        return [
            distances[:, cluster] + OTHER_CLUSTER * (means.labels != cluster) for cluster in np.argsort(-sizes, kind="stable")
        ]


class _PerCluster:
    """Selects one row for each cluster, in order."""

    def __init__(self, distances: list[Numbers]) -> None:
        self._distances = distances
        self._cluster = 0

    def gains(self) -> Numbers:
        return -self._distances[self._cluster]

    def take(self, place: int) -> None:
        self._cluster += 1
