"""k-means clustering of embeddings, by scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptkit.manipulate.prompting.similarity import Vectors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clustering:
    """The result of k-means."""

    labels: NDArray[np.int32]
    """The cluster of each row, shape (rows,)."""
    distances: Vectors
    """The distance of each row to each centroid, shape (rows, k)."""


def fit_kmeans(vectors: Vectors, k: int, seed: int) -> Clustering:
    """Clusters vectors of shape (rows, width); clusters are empty if there are fewer than k distinct vectors."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # warns of empty clusters
        means = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(vectors)
    return Clustering(labels=means.labels_, distances=means.transform(vectors))
