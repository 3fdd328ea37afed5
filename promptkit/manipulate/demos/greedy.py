"""Greedy selection: demonstrations are added one at a time by their marginal gain, from the row's nearest candidates.

If no candidate has a gain, or the quotas of all candidates' classes are exhausted, the nearest rows fill the remaining places.
"""

from __future__ import annotations

from abc import abstractmethod
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
    """The marginal gains of candidates, given those selected so far."""

    def gains(self) -> Numbers:
        """Returns the gain of each candidate, shape (candidates,); -inf excludes a candidate."""
        ...

    def take(self, place: int) -> None:
        """Adds the candidate at that place to the selection."""
        ...


def select_greedily(state: GreedyState, candidates: Indices, pool: Pool, own_index: int = NOT_IN_POOL) -> list[int]:
    """Selects up to k candidates by their gains.

    Args:
        state: The gains, updated with each selection.
        candidates: Indices in the pool, ascending, so that ties are broken by the smaller id.
        pool: The pool, which limits the number of demonstrations of each class.
        own_index: Index in the pool of the row itself, which is never selected.

    Returns:
        Indices in the pool, in the order of selection.
    """
    quota = pool.quota(own_index)
    classes = pool.classes[candidates]
    available = candidates != own_index
    selected = []
    while quota.left:
        admitted = np.array([quota.admits(label) for label in range(pool.classes.max() + 1)])
        gains = np.where(available & admitted[classes], np.round(state.gains(), DIGITS), -np.inf)
        place = int(gains.argmax())
        if np.isneginf(gains[place]):
            break
        state.take(place)
        quota.take(int(classes[place]))
        available[place] = False
        selected.append(int(candidates[place]))
    return selected


@dataclass(frozen=True)
class GreedySelector(EmbeddingSelector):
    """Base class of selectors that add candidates one at a time."""

    candidates: int = 100
    """Number of nearest rows to select from."""
    ranks_by_similarity: ClassVar[bool] = True

    @abstractmethod
    def initial_state(self, relevance: Numbers, vectors: Numbers) -> GreedyState:
        """Returns the state before the first selection.

        Args:
            relevance: Cosine of each candidate to the row, shape (candidates,).
            vectors: Unit vectors of the candidates, shape (candidates, width).
        """

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the selection for each row, in the order of selection."""

        def rankings(pool: Pool) -> Rankings:
            space = EmbeddingSpace(context, self.encoder, pool.rows)
            return lambda examples, own_index: self._rankings(pool, space, examples, own_index)

        return choose_by_ranking(rankings, self, context)

    def _rankings(
        self, pool: Pool, space: EmbeddingSpace, examples: Sequence[Example], own_index: Indices
    ) -> Iterator[Sequence[int]]:
        one_class = np.zeros_like(pool.classes)
        vectors = space(examples)
        for batch in batches(len(examples)):
            cosines = vectors[batch] @ space.pool.T
            nearest = np.sort(top_per_class(cosines, own_index[batch], one_class, self.candidates), axis=1)
            fallback = rank_pool(cosines, own_index[batch], pool)
            for row, index in enumerate(own_index[batch].tolist()):
                relevance, candidates = cosines[row, nearest[row]], space.pool[nearest[row]]
                state = self.initial_state(relevance.astype(np.float64), candidates.astype(np.float64))
                yield [*select_greedily(state, nearest[row], pool, index), *fallback[row].tolist()]
