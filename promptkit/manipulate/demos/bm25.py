"""Selection by shared words: Okapi BM25 (Robertson and Zaragoza 2009).

    score(x, d) = sum over words t of x: IDF(t) tf / (tf + k1 (1 - b + b |d| / avgdl)),
    IDF(t) = ln(1 + (N - df + 0.5) / (df + 0.5)),

with k1 = 1.5, b = 0.75 and Lucene's IDF, which is never negative. The constant factor k1 + 1 is omitted because it does not
change the ranking. A word of x counts as often as it occurs. Words are lowercase runs of letters, digits and underscores,
without stop words or stemming. The index is that of bm25s (Lù 2024, arXiv 2407.03618).
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
"""Saturation of the term frequency."""
B = 0.75
"""Strength of the length normalization."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class BM25(SimilaritySelector):
    """Shows the k rows with the highest BM25 score, the highest first."""

    name: ClassVar[str] = "bm25"
    ranks_by_similarity: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the rows with the highest scores for each row."""
        return choose_by_ranking(rank_by_words, self, context)


def rank_by_words(pool: Pool) -> Rankings:
    """Returns the ranking of a pool by BM25."""
    from bm25s import BM25

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # bm25s enables its debug messages
    words = [words_of(row) for row in pool.rows]
    word_ids = {word: index for index, word in enumerate(sorted({word for row in words for word in row}))}
    index = BM25(k1=K1, b=B, method="lucene")
    index.index(([[word_ids[word] for word in row] for row in words], word_ids), show_progress=False)

    def rank(examples: Sequence[Example], own_indices: Indices) -> Iterator[Sequence[int]]:
        queries = [[word_ids[word] for word in words_of(example) if word in word_ids] for example in examples]
        for batch in batches(len(examples)):
            scores = np.stack([index.get_scores_from_ids(query) for query in queries[batch]])
            yield from rank_pool(scores, own_indices[batch], pool).tolist()

    return rank


def words_of(example: Example) -> list[str]:
    """Returns the words of a row's inputs, in order."""
    return _WORD.findall(inputs_text(example).lower())
