"""Selection of one set of demonstrations that represents the whole pool, the same for all rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.core.examples import Example
from promptkit.manipulate.demos.greedy import Numbers
from promptkit.manipulate.demos.pool import Pool
from promptkit.manipulate.demos.ranking import DIGITS, EmbeddingSelector
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.packing import packing
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, choose_shared
from promptkit.manipulate.prompting.similarity import EmbeddingSpace, Vectors


@dataclass(frozen=True)
class CoresetSelector(EmbeddingSelector):
    """Base class of selectors that choose one set for all rows."""

    is_shared: ClassVar[bool] = True

    @abstractmethod
    def coreset(self, pool: Pool, vectors: Vectors) -> list[tuple[int, Numbers]]:
        """Chooses the set.

        Args:
            pool: The rows to choose from.
            vectors: Their embeddings, shape (rows, width).

        Returns:
            For each demonstration, its index in the pool and a score of every row, shape (rows,), by which it is replaced for
            the row that has its inputs.
        """

    def bind(self, context: SelectionContext) -> Choose:
        """Chooses the set; a row that is itself in the set is shown a replacement."""
        pool = Pool.from_context(context, self.k, balanced=self.balanced)
        if self.k == 0:
            return choose_shared([])
        coreset = self.coreset(pool, EmbeddingSpace(context, self.encoder, pool.rows).pool)
        pack = packing(context, self.budget)

        def choose(examples: Sequence[Example]) -> list[Demonstrations]:
            chosen = [_without(own_index, coreset, pool) for own_index in pool.indices_of(examples).tolist()]
            return [pack(tuple(pool.rows[index] for index in indices)) for indices in chosen]

        return choose


def _without(own_index: int, coreset: Sequence[tuple[int, Numbers]], pool: Pool) -> list[int]:
    """Returns the set without the row `own_index`, which is replaced by the best row of its class, or else of another class."""
    chosen = [index for index, _ in coreset]
    if own_index not in chosen:
        return chosen
    quota = pool.quota(own_index)  # classes stay as balanced as they can be without the row
    for index in chosen:
        if index != own_index:
            quota.take(int(pool.classes[index]))
    place = chosen.index(own_index)
    order = np.lexsort((-np.round(coreset[place][1], DIGITS), pool.classes != pool.classes[own_index])).tolist()
    replacements = [index for index in order if index not in chosen and quota.admits(int(pool.classes[index]))]
    return [*chosen[:place], *replacements[:1], *chosen[place + 1 :]]
