"""Selection by a ranking of the pool for each row; the base classes of the similarity selectors.

Scores are rounded before they are compared and ties are broken by id, so that floating-point noise does not change the
selection. `balanced` and `budget` apply to any ranking, in that order. Each class provides an equal number of its best rows, as
far as its size permits, and the remainder goes to the classes whose next row ranks highest. Then as many demonstrations are
kept as the token budget permits.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.manipulate.demos.pool import NOT_IN_POOL, Indices, Pool
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.packing import packing
from promptkit.manipulate.prompting.rows import Choose, Demonstrations
from promptkit.manipulate.prompting.similarity import THIS_MODEL

Rankings = Callable[[Sequence[Example], Indices], Iterator[Sequence[int]]]
"""Ranks the pool for each row: from rows and their own indices in the pool to indices in the pool, best first."""
Scores = NDArray[np.floating]
"""Similarity of each row to each pool row, shape (rows, pool)."""
DIGITS = 5
"""Decimals to which scores are rounded before comparison."""
BATCH_SIZE = 128
"""Number of rows that are scored together, which bounds the memory."""
BOUNDS: Mapping[str, tuple[float, float]] = {
    "budget": (0, inf),
    "candidates": (1, inf),
    "neighbors": (1, inf),
    "relevance": (0, 1),
}
"""The range of each numeric keyword."""


@dataclass(frozen=True)
class SimilaritySelector(Selector, ABC):
    """Base class of selectors that rank the pool by similarity."""

    k: int = 8
    """Number of demonstrations."""
    balanced: bool = False
    """Whether to show the same number of demonstrations of each class, as far as the class sizes permit."""
    budget: int | None = None
    """Maximum number of tokens of all demonstrations together; unlimited by default."""

    def __post_init__(self) -> None:
        """Validates the keywords and their ranges."""
        checked(self)
        for name, value in vars(self).items():
            low, high = BOUNDS.get(name, (-inf, inf))
            if isinstance(value, int | float) and not low <= value <= high:
                error_fields: dict[str, Any] = {"selector": self.name, name: value}
                allowed = f"at least {low}" if high == inf else f"from {low} to {high}"
                raise InputError(
                    f"The {name} of {self.name} must be {allowed}", code="out-of-range", got=f"{name}={value}", **error_fields
                )


@dataclass(frozen=True)
class EmbeddingSelector(SimilaritySelector, ABC):
    """Base class of selectors that compare embeddings."""

    encoder: str = THIS_MODEL
    """Model that embeds the rows: `model`, the one that reads the prompt, or the name of another, `[engine:]name`."""

    @property
    def models(self) -> tuple[str, ...]:
        """The encoder, if it is another model."""
        return () if self.encoder == THIS_MODEL or self.k == 0 else (self.encoder,)


def choose_by_ranking(
    build_rankings: Callable[[Pool], Rankings], selector: SimilaritySelector, context: SelectionContext
) -> Choose:
    """Returns the selection of the first k admissible rows of a ranking.

    Args:
        build_rankings: Builds the ranking function, such as an index of the pool. Not called if k is 0.
        selector: Its `k`, `balanced` and `budget` apply.
        context: The pool, the model and the prompt layout.

    Raises:
        TaskError: The pool has too few rows, or the task has no labels to balance by.
    """
    pool = Pool.from_context(context, selector.k, balanced=selector.balanced)
    if selector.k == 0:
        return lambda examples: [()] * len(examples)
    pack = packing(context, selector.budget)
    rank = build_rankings(pool)

    def choose(examples: Sequence[Example]) -> list[Demonstrations]:
        own_indices = pool.indices_of(examples)
        rankings = zip(rank(examples, own_indices), own_indices.tolist(), strict=True)
        return [pack(pool.select(ranking, own_indices)) for ranking, own_indices in rankings]

    return choose


def rank_pool(scores: Scores, own_indices: Indices, pool: Pool) -> Indices:
    """Ranks the pool by scores of shape (B, pool).

    Args:
        scores: Similarity of each row to each pool row, shape (B, pool).
        own_indices: The index of each row in the pool, or NOT_IN_POOL, shape (B,).
        pool: The pool.

    Returns:
        Indices of as many rows as selection can need, best first, shape (B, R).
    """
    return top_per_class(scores, own_indices, pool.classes, pool.quota().per_class + 2)


def top_per_class(scores: Scores, own_indices: Indices, classes: Indices, count: int) -> Indices:
    """Returns the indices of the `count` best rows of each class, sorted by score; a row's own index is last, if it occurs."""
    width = scores.shape[1]
    keys = np.rint(scores * 10.0**DIGITS).astype(np.int64) * width + np.arange(width)[::-1]
    in_pool = own_indices != NOT_IN_POOL
    keys[in_pool, own_indices[in_pool]] = np.iinfo(np.int64).min
    top = []
    for label in range(classes.max() + 1):
        columns = np.flatnonzero(classes == label)
        cut = max(len(columns) - count, 0)
        top.append(columns[np.argpartition(keys[:, columns], cut, axis=1)[:, cut:]])
    indices = np.concatenate(top, axis=1)
    order = np.argsort(np.take_along_axis(keys, indices, 1), axis=1)[:, ::-1]
    return np.take_along_axis(indices, order, 1)


def batches(count: int) -> Iterator[slice]:
    """Divides `count` rows into slices of BATCH_SIZE."""
    for begin in range(0, count, BATCH_SIZE):
        yield slice(begin, begin + BATCH_SIZE)
