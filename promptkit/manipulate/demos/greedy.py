"""Demonstrations taken one after another, each for what it adds to those before it, from the row's nearest candidates.

Where nothing adds any more, or no candidate is of a class that may still give one, the nearest rows fill the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from promptkit.core.examples import Example
from promptkit.manipulate.demos.pool import NOT_IN_POOL, Indices, Pool
from promptkit.manipulate.demos.ranking import (
    DIGITS,
    EmbeddingSelector,
    Rankings,
    batches,
    choose_by_ranking,
    rank_pool,
    top_per_class,
)
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose
from promptkit.manipulate.prompting.similarity import EmbeddingSpace

Numbers = NDArray[np.float64]


class GreedyState(Protocol):
    """What it is worth to take each candidate next; changes as candidates are taken."""

    def gains(self) -> Numbers:
        """Shape (candidates,); -inf for what must not be taken."""
        ...

    def take(self, place: int) -> None:
        """The candidate at that place is taken."""
        ...


def select_greedily(state: GreedyState, candidates: Indices, pool: Pool, own: int = NOT_IN_POOL) -> list[int]:
    """At most k of the candidates: rows of the pool by number, ascending, so that of equal gains the smaller id's is taken."""
    room = pool.quota(own)
    classes = pool.classes[candidates]
    free = candidates != own
    taken = []
    while room.left:
        admitted = np.array([room.admits(label) for label in range(pool.classes.max() + 1)])
        gains = np.where(free & admitted[classes], np.round(state.gains(), DIGITS), -np.inf)
        place = int(gains.argmax())
        if np.isneginf(gains[place]):
            break
        state.take(place)
        room.take(int(classes[place]))
        free[place] = False
        taken.append(int(candidates[place]))
    return taken


@dataclass(frozen=True)
class GreedySelector(EmbeddingSelector):
    """A selector that takes candidates one after another."""

    candidates: int = 100
    """How many of the nearest rows it takes them from."""
    ranks: ClassVar[bool] = True

    def taking(self, relevance: Numbers, vectors: Numbers) -> GreedyState:
        """`relevance`: (candidates,), their cosines to the row. `vectors`: (candidates, width), of length 1."""
        raise NotImplementedError

    def bind(self, context: SelectionContext) -> Choose:
        """The candidates taken, the first first; raises if the pool is too small."""

        def rankings(pool: Pool) -> Rankings:
            space = EmbeddingSpace(context, self.encoder, pool.rows)
            alike = np.zeros_like(pool.classes)

            def rank(examples: Sequence[Example], own: Indices) -> Iterator[Sequence[int]]:
                vectors = space(examples)
                for block in batches(len(examples)):
                    cosines = vectors[block] @ space.pool.T
                    near = np.sort(top_per_class(cosines, own[block], alike, self.candidates), axis=1)
                    rest = rank_pool(cosines, own[block], pool)
                    for row, number in enumerate(own[block].tolist()):
                        relevance, among = cosines[row, near[row]], space.pool[near[row]]
                        state = self.taking(relevance.astype(np.float64), among.astype(np.float64))
                        yield [*select_greedily(state, near[row], pool, number), *rest[row].tolist()]

            return rank

        return choose_by_ranking(rankings, self, context)
