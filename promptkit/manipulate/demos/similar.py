"""Selection of nearest neighbors by cosine similarity (KATE; Liu et al. 2021, arXiv 2101.06804)."""

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
class Similar(EmbeddingSelector):
    """Shows the k rows with the highest cosine similarity to the row, the highest first."""

    name: ClassVar[str] = "similar"
    ranks_by_similarity: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the nearest neighbors of each row."""

        def rankings(pool: Pool) -> Rankings:
            space = EmbeddingSpace(context, self.encoder, pool.rows)

            def rank(examples: Sequence[Example], own_indices: Indices) -> Iterator[Sequence[int]]:
                vectors = space(examples)
                for batch in batches(len(examples)):
                    yield from rank_pool(vectors[batch] @ space.pool.T, own_indices[batch], pool).tolist()

            return rank

        return choose_by_ranking(rankings, self, context)
