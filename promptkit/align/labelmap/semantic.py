"""Semantic label mapping: assigns source classes to labels with similar names (AutoVP, Tsai et al. 2023, 2310.08381).

Names are embedded by a sentence encoder, or by the language model itself: by the mean hidden state of a token's text and of a
label's word. An image classifier needs a sentence encoder, or the classes of each label, written by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.base import untrainable
from promptkit.align.labelmap.injective import InjectiveMapping
from promptkit.align.labelmap.mapping import assigned
from promptkit.core.needs import FitData, Needs
from promptkit.needs.name_vectors import NameEmbeddings, NameVectors

if TYPE_CHECKING:
    from promptkit.align.labelmap.base import Sources
    from promptkit.align.labelmap.mapping import LabelMap
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Semantic(InjectiveMapping):
    """Assigns each label the source class with the most similar name; the labels of rows are not used."""

    encoder: str = ""
    """The model that embeds names, such as `encoder:FOLDER`; by default the language model itself."""
    name: ClassVar[str] = "semantic"
    is_refitted: ClassVar[bool] = False

    @property
    def supports_unseen_labels(self) -> bool:
        """Whether a label without rows can be predicted: always, by its name."""
        return True

    @property
    def needs(self) -> Needs:
        """The requirements of the base class, and embeddings of the token texts and of the label words."""
        return (self._name_vectors, *super().needs)

    @property
    def _name_vectors(self) -> NameVectors:
        return NameVectors(None if self.sources == "words" else self.source_logprobs, self.encoder)

    def name_embeddings(self, data: FitData) -> NameEmbeddings:
        """Returns the embeddings of the names."""
        return data[self._name_vectors]

    def map(self, sources: Sources, gold: Integers) -> LabelMap:
        """Assigns the source classes and records the assignment in `LabelMap.named`."""
        named = assigned(self.weights(sources, gold), sources.names, sources.labels)
        return replace(super().map(sources, gold), named=named)

    def check_trainable(self) -> None:
        """Raises Unsupported: the names must be embedded."""
        raise untrainable(self.name, "a map by names", "Train with blm+, then evaluate with any map")

    def affinity(self, sources: Sources, gold: Integers) -> Floats:
        """Computes cosine similarities between the names, shape (S, K)."""
        return centered_cosines(sources.name_vectors, sources.label_vectors)


def centered_cosines(first: Floats, second: Floats) -> Floats:
    """Computes cosine similarities of all pairs after subtracting the mean of all rows of both, shape (S, K)."""
    from sklearn.metrics.pairwise import cosine_similarity

    center = np.vstack([first, second]).mean(0)
    cosines: Floats = cosine_similarity(first - center, second - center)
    return cosines
