"""A probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.probes.centroids import ClassMeans, class_means
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@stateful("manhattan-means")
@dataclass(frozen=True)
class ManhattanMeans:
    """The class means."""

    means: Floats

    def __call__(self, queries: Floats) -> Floats:
        distances: Floats = np.abs(queries[:, None] - self.means[None]).sum(-1)
        return -distances


@dataclass(frozen=True, kw_only=True)
class Manhattan(ClassMeans):
    """The nearest class mean of hidden states by the Manhattan distance."""

    name: ClassVar[str] = "manhattan"

    def fit_means(self, rows: Floats, gold: Integers, labels: int) -> ManhattanMeans:
        return ManhattanMeans(class_means(rows, gold, labels))
