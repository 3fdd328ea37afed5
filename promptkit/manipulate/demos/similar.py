"""Demonstrations that mean what the row means: nearest neighbors by cosine (KATE, Liu et al. 2021, 2101.06804)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.examples import Example
from promptkit.manipulate.demos.pool import Indices, Pool
from promptkit.manipulate.demos.ranking import EmbeddingSelector, Rankings, batches, choose_by_ranking, rank_pool
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose
from promptkit.manipulate.prompting.similarity import EmbeddingSpace


@dataclass(frozen=True)
class similar(EmbeddingSelector):  # noqa: N801 - a selector's class name is its spelling everywhere
    """The k rows with the largest cosine to the row's vector, the largest first."""

    name: ClassVar[str] = "similar"
    ranks: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Choose:
        """The nearest by vectors; raises if the pool is too small."""

        def rankings(pool: Pool) -> Rankings:
            space = EmbeddingSpace(context, self.encoder, pool.rows)

            def rank(examples: Sequence[Example], own: Indices) -> Iterator[Sequence[int]]:
                vectors = space(examples)
                for block in batches(len(examples)):
                    yield from rank_pool(vectors[block] @ space.pool.T, own[block], pool).tolist()

            return rank

        return choose_by_ranking(rankings, self, context)
