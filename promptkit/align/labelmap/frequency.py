"""Frequency label mapping, FLM (Tsai et al. 2020, 2007.08714; Chen et al. 2022, 2211.11635).

Pairs of source class and label are assigned greedily, the pair that occurs most often first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.align.labelmap.injective import InjectiveMapping
from promptkit.align.labelmap.mapping import frequencies

if TYPE_CHECKING:
    from promptkit.align.labelmap.base import Sources
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Frequency(InjectiveMapping):
    """Assigns each label the source class that is the most likely one for most of its rows."""

    name: ClassVar[str] = "frequency"
    is_refitted: ClassVar[bool] = False

    def affinity(self, sources: Sources, gold: Integers) -> Floats:
        """Counts the rows of each label by their most likely source class, shape (S, K)."""
        return frequencies(sources.logprobs, gold, len(sources.labels))
