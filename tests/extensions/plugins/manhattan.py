"""A probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.probes.centroids import ClassMeans, class_means

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Manhattan(ClassMeans):
    """The nearest class mean of hidden states by the Manhattan distance."""

    name: ClassVar[str] = "manhattan"

    def scores(self, rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
        means = class_means(rows, gold, labels)
        distances: Floats = np.abs(queries[:, None] - means[None]).sum(-1)
        return -distances
