"""One set of demonstrations for all rows, chosen so that it stands for the whole pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from promptkit.core.examples import LabeledExample
from promptkit.manipulate.demos.greedy import Numbers
from promptkit.manipulate.demos.pool import Pool
from promptkit.manipulate.demos.ranking import DIGITS, EmbeddingSelector
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.packing import packing
from promptkit.manipulate.prompting.rows import Choose, choose_shared
from promptkit.manipulate.prompting.similarity import EmbeddingSpace, Vectors


@dataclass(frozen=True)
class CoresetSelector(EmbeddingSelector):
    """A selector of one set."""

    def places(self, pool: Pool, vectors: Vectors) -> list[tuple[int, Numbers]]:
        """The pool's rows by number, each with the scores by which another takes its place for a row with its inputs."""
        raise NotImplementedError

    def bind(self, context: SelectionContext) -> Choose:
        """The same rows for every row; raises if the pool is too small."""
        pool = Pool.from_context(context, self.k, balanced=self.balanced)
        if self.k == 0:
            return choose_shared([])
        places = self.places(pool, EmbeddingSpace(context, self.encoder, pool.rows).pool)
        taken = [number for number, _ in places]
        choose = choose_shared([[pool.rows[number], *_instead(number, taken, scores, pool)] for number, scores in places])
        pack = packing(context, self.budget)
        return lambda examples: [*map(pack, choose(examples))]


def _instead(number: int, taken: list[int], scores: Numbers, pool: Pool) -> list[LabeledExample]:
    """The rows that are not taken: those of the row's own class first, and of them the best first."""
    order = np.lexsort((-np.round(scores, DIGITS), pool.classes != pool.classes[number]))
    return [pool.rows[other] for other in order[~np.isin(order, taken)].tolist()]
