"""Semantic label mapping: each label has the source class whose name is nearest to the label's own in an embedding space
(as in AutoVP, Tsai et al. 2023, 2310.08381). What rows say plays no part, nor do their labels:
a label without rows is predicted like any other.

On a language model the space is its own: the mean hidden state of a token's text, and of the word that stands for a label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.frequency import Injective
from promptkit.core.alignment import Needs

if TYPE_CHECKING:
    from promptkit.align.labelmap.base import Sources
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Semantic(Injective):
    """The nearest names, the nearest pair first."""

    name: ClassVar[str] = "semantic"

    @property
    def supports_unseen_labels(self) -> bool:
        """A label means what its word means."""
        return True

    @property
    def needs(self) -> Needs:
        """The tokens' texts and the labels' words too, as vectors."""
        return replace(super().needs, named=(self.top,))

    def likeness(self, sources: Sources, gold: Integers) -> Floats:
        """Cosines."""
        return cosines(sources.name_vectors, sources.label_vectors)


def cosines(one: Floats, other: Floats) -> Floats:
    """Between all rows of both, less the mean of all; a row that is the mean has a cosine of 0. Shape (S, K)."""
    center = np.vstack([one, other]).mean(0)
    units = []
    for vectors in (one, other):
        lengths = np.linalg.norm(vectors - center, axis=1, keepdims=True)
        units.append((vectors - center) / np.where(lengths > 0, lengths, 1))
    between: Floats = units[0] @ units[1].T
    return between
