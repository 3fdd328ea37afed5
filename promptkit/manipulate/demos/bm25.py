"""Demonstrations that share words with the row: Okapi BM25 (Robertson and Zaragoza 2009).

    score(x, d) = sum over words t of x: IDF(t) tf / (tf + k1 (1 - b + b |d| / avgdl)),
    IDF(t) = ln(1 + (N - df + 0.5) / (df + 0.5)),

with k1 = 1.5, b = 0.75 and Lucene's IDF, which is never negative; the constant factor k1 + 1 is left out, as it changes no
rank. A word of x counts as often as it occurs. Words are runs of letters, digits and underscores in small letters: no
stop words, no stems. The index is bm25s's (Lù 2024, 2407.03618).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.core.examples import Example
from promptkit.manipulate.demos.pool import Indices, Pool
from promptkit.manipulate.demos.ranking import Rankings, SimilaritySelector, batches, choose_by_ranking, rank_pool
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, inputs_text

K1 = 1.5
B = 0.75
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class bm25(SimilaritySelector):  # noqa: N801 - a selector's class name is its spelling everywhere
    """The k rows whose words fit the row's best, the best first."""

    name: ClassVar[str] = "bm25"
    ranks: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Choose:
        """The nearest by words; raises if the pool is too small."""
        return choose_by_ranking(_rankings, self, context)


def _rankings(pool: Pool) -> Rankings:
    from bm25s import BM25

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it has every debugging message shown
    words = [words_of(row) for row in pool.rows]
    number_of = {word: number for number, word in enumerate(sorted({word for row in words for word in row}))}
    index = BM25(k1=K1, b=B, method="lucene")
    index.index(([[number_of[word] for word in row] for row in words], number_of), show_progress=False)

    def rank(examples: Sequence[Example], own: Indices) -> Iterator[Sequence[int]]:
        asked = [[number_of[word] for word in words_of(example) if word in number_of] for example in examples]
        for block in batches(len(examples)):
            scores = np.stack([index.get_scores_from_ids(row) for row in asked[block]])
            yield from rank_pool(scores, own[block], pool).tolist()

    return rank


def words_of(example: Example) -> list[str]:
    """A row's words, in order."""
    return _WORD.findall(inputs_text(example).lower())
