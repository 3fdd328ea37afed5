"""Random label mapping (Elsayed et al. 2018, 1806.11146): arbitrary source classes, as a baseline for learned mappings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.injective import InjectiveMapping
from promptkit.core.hashing import sha256_int

if TYPE_CHECKING:
    from promptkit.align.labelmap.base import Sources
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Random(InjectiveMapping):
    """Assigns each label a random source class, drawn by `seed` and independent of the rows."""

    name: ClassVar[str] = "random-map"
    is_refitted: ClassVar[bool] = False

    @property
    def supports_unseen_labels(self) -> bool:
        """Whether a label without rows can be predicted: always, because labeled rows are not used."""
        return True

    def affinity(self, sources: Sources, gold: Integers) -> Floats:
        """Draws random numbers that depend only on the seed and the names, shape (S, K)."""
        return np.array([[_uniform(f"{self.seed}\0{name}\0{label}") for label in sources.labels] for name in sources.names])


def _uniform(key: str) -> float:
    """Returns a number in [0, 1) that is a hash of the key."""
    return sha256_int(key, size=6) / 2**48
