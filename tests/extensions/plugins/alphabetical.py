"""A label map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.injective import InjectiveMapping

if TYPE_CHECKING:
    from promptkit.align.labelmap.base import Sources
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Alphabetical(InjectiveMapping):
    """Assigns source classes to labels in the order of the alphabet."""

    name: ClassVar[str] = "alphabetical"
    is_refitted: ClassVar[bool] = False

    def affinity(self, sources: Sources, gold: Integers) -> Floats:
        ranks = np.argsort(np.argsort(sources.names))
        places = np.argsort(np.argsort(sources.labels))
        distances: Floats = np.abs(ranks[:, None] - places[None]).astype(float)
        return -distances
