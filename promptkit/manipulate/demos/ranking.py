"""Demonstrations by a ranking of the pool for each row: what the selectors that rank have in common.

Scores are rounded before they are compared and ties go to the smaller id, so that the last digits of an arithmetic decide
nothing. `balanced` and `budget` apply to any ranking, in that order: each class gives as equal a number of its best as
its rows allow, what is left over going to the classes whose next row ranks highest; then as many as the budget has room for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.registry import checked
from promptkit.manipulate.demos.pool import NOT_IN_POOL, Indices, Pool
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.packing import packing
from promptkit.manipulate.prompting.rows import Choose, Demonstrations
from promptkit.manipulate.prompting.similarity import THIS_MODEL

Rankings = Callable[[Sequence[Example], Indices], Iterator[Sequence[int]]]
"""Rows to choose for, and the number in the pool of each -> the pool's rows by number, the best first; for each of them."""
DIGITS = 5
"""Decimals of a score that count."""
AT_ONCE = 128
"""Rows that are chosen for together: bounds the memory."""
BOUNDS: Mapping[str, tuple[float, float]] = {
    "budget": (0, inf),
    "candidates": (1, inf),
    "neighbors": (1, inf),
    "relevance": (0, 1),
}
"""What the keywords of selectors may be, where they are numbers."""


@dataclass(frozen=True)
class SimilaritySelector:
    """The keywords that every selector by likeness has."""

    k: int = 8
    """How many demonstrations."""
    balanced: bool = False
    """Whether each class has as equal a number of them as can be."""
    budget: int | None = None
    """The most tokens that they may take together; unless given, there is no bound."""
    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse values that a keyword cannot have."""
        checked(self)
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = BOUNDS.get(field.name, (-inf, inf))
            if isinstance(value, int | float) and not low <= value <= high:
                given: dict[str, Any] = {field.name: value}
                allowed = f"at least {low}" if high == inf else f"from {low} to {high}"
                raise InputError(
                    f"The {field.name} of {self.name} must be {allowed}",
                    code="out-of-range",
                    got=f"{field.name}={value}",
                    selector=self.name,
                    **given,
                )


@dataclass(frozen=True)
class EmbeddingSelector(SimilaritySelector):
    """The keywords of a selector that compares vectors."""

    encoder: str = THIS_MODEL
    """Whose vectors: `model`, the model that reads the prompt, or the name of another, `[engine:]name`."""

    @property
    def models(self) -> tuple[str, ...]:
        """The other model that it asks."""
        return () if self.encoder == THIS_MODEL or self.k == 0 else (self.encoder,)


def choose_by_ranking(make: Callable[[Pool], Rankings], selector: SimilaritySelector, context: SelectionContext) -> Choose:
    """The choice by rankings of the pool, made once they are needed."""
    pool = Pool.from_context(context, selector.k, balanced=selector.balanced)
    if selector.k == 0:
        return lambda examples: [()] * len(examples)
    pack = packing(context, selector.budget)
    rank = make(pool)

    def choose(examples: Sequence[Example]) -> list[Demonstrations]:
        places = pool.indices_of(examples)
        rankings = zip(rank(examples, places), places.tolist(), strict=True)
        return [pack(pool.select(ranking, own)) for ranking, own in rankings]

    return choose


def rank_pool(scores: NDArray[Any], own: Indices, pool: Pool) -> Indices:
    """Of scores of shape (B, rows): the numbers of enough rows to choose from, the best first, shape (B, R)."""
    return top_per_class(scores, own, pool.classes, pool.quota().each + 2)


def top_per_class(scores: NDArray[Any], own: Indices, classes: Indices, count: int) -> Indices:
    """The numbers of the `count` best rows of each class, all of them the best first; the own row, if at all, the last."""
    width = scores.shape[1]
    keys = np.rint(scores * 10.0**DIGITS).astype(np.int64) * width + np.arange(width)[::-1]
    known = own != NOT_IN_POOL
    keys[known, own[known]] = np.iinfo(np.int64).min
    found = []
    for number in range(classes.max() + 1):
        columns = np.flatnonzero(classes == number)
        cut = max(len(columns) - count, 0)
        found.append(columns[np.argpartition(keys[:, columns], cut, axis=1)[:, cut:]])
    numbers = np.concatenate(found, axis=1)
    order = np.argsort(np.take_along_axis(keys, numbers, 1), axis=1)[:, ::-1]
    return np.take_along_axis(numbers, order, 1)


def batches(count: int) -> Iterator[slice]:
    """AT_ONCE at a time."""
    for begin in range(0, count, AT_ONCE):
        yield slice(begin, begin + AT_ONCE)
