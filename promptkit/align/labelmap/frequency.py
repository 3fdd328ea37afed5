"""Frequency label mapping, FLM (Tsai et al. 2020, 2007.08714; Chen et al. 2022, 2211.11635): the pair that occurs most
often is taken first, then the next among the source classes and labels that are left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.base import LabelMapping
from promptkit.align.labelmap.mapping import frequencies
from promptkit.core.alignment import Needs
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.align.labelmap.base import Sources
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Injective(LabelMapping):
    """A map in which no source class serves two labels."""

    each: int = 1
    """Source classes of a label: several are averaged (many-to-one, 2007.08714)."""

    def __post_init__(self) -> None:
        """Refuse a label without source classes."""
        super().__post_init__()
        if self.each < 1:
            raise InputError(
                f"The label map {self.name} needs at least one source class for each label",
                code="out-of-range",
                got=f"each={self.each}",
                aligner=self.name,
                each=self.each,
            )
        if self.sources == "words" and self.each > 1:
            raise InputError(
                "With sources=words there are as many source classes as labels, so each label can have only one",
                code="conflicting-options",
                got=f"sources=words, each={self.each}",
                hint="Leave out each, or sources=words",
                aligner=self.name,
                options=("each", "sources"),
            )

    @property
    def needs(self) -> Needs:
        """Enough tokens for all labels."""
        return replace(super().needs, tokens_each=self.each)

    def weights(self, sources: Sources, gold: Integers) -> Floats:
        """Shape (S, K); 1 / each where a source class is a label's, else 0."""
        return greedy(self.likeness(sources, gold), self.each)

    def likeness(self, sources: Sources, gold: Integers) -> Floats:
        """What is matched, shape (S, K)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Frequency(Injective):
    """Each label has the source class that is the likeliest for most of its rows."""

    name: ClassVar[str] = "frequency"

    def likeness(self, sources: Sources, gold: Integers) -> Floats:
        """F."""
        return frequencies(sources.logprobs, gold, len(sources.labels))


def greedy(scores: Floats, each: int = 1) -> Floats:
    """Takes the largest entry, strikes out its row, and its column when that has `each`; until every column has.

    Shape (S, K) -> (S, K), 1 / each where taken; ties go to the first source class, then to the first label. Raises if
    there are too few source classes.
    """
    sources, labels = scores.shape
    if sources < each * labels:
        raise InputError(
            f"{labels} labels with {each} source classes each need at least {each * labels} source classes",
            code="too-few-source-classes",
            got=f"{sources}",
            hint="Reduce each, or increase tokens",
            labels=labels,
            needed=each * labels,
            given=sources,
        )
    left = scores.astype(float)
    taken = np.zeros_like(left)
    for _ in range(each * labels):
        source, label = np.unravel_index(left.argmax(), left.shape)
        taken[source, label] = 1 / each
        left[source] = -np.inf
        if np.count_nonzero(taken[:, label]) == each:
            left[:, label] = -np.inf
    return taken
