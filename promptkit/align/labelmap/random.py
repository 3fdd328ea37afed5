"""Random label mapping (Elsayed et al. 2018, 1806.11146): source classes that mean nothing, as the least that learning has
to beat. As rows play no part, a label without rows is predicted like any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.frequency import Injective
from promptkit.core.hashing import sha256_int

if TYPE_CHECKING:
    from promptkit.align.labelmap.technique import Sources
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Random(Injective):
    """Each label has a source class by lot, which `seed` draws, whatever the rows say."""

    name: ClassVar[str] = "random-map"

    @property
    def supports_unseen_labels(self) -> bool:
        """Rows play no part."""
        return True

    def likeness(self, sources: Sources, gold: Integers) -> Floats:
        """A function of the seed and the names alone."""
        return np.array([[_lot(f"{self.seed}\0{name}\0{label}") for label in sources.labels] for name in sources.names])


def _lot(text: str) -> float:
    """In [0, 1)."""
    return sha256_int(text, size=6) / 2**48
