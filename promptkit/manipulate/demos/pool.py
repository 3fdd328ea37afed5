"""The pool as selectors by likeness see it: rows of different inputs in the order of their ids, and each class's share.

Neither the pool's order nor repeats of its rows change what is chosen: a repeat counts once, ties go to the smaller id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptkit.core.errors import TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations, check_pool_size, inputs_key

Indices = NDArray[np.int64]
NOT_IN_POOL = -1
"""Stands where the pool has no row."""


class ClassQuota:
    """How many more demonstrations there may be, of each class: as equal numbers as their sizes allow."""

    def __init__(self, k: int, sizes: Indices) -> None:
        """`sizes`: how many rows each class has."""
        self.left = k
        self.each = max(level for level in range(k + 1) if np.minimum(sizes, level).sum() <= k)
        self._extra = k - np.minimum(sizes, self.each).sum()
        """How many classes may have one more, whichever come first."""
        self._held = Counter[int]()

    def admits(self, label: int) -> bool:
        """Whether there may be one more of the class."""
        held = self._held[label]
        return self.left > 0 and (held < self.each or (held == self.each and self._extra > 0))

    def take(self, label: int) -> None:
        """There is one more of the class."""
        self._extra -= self._held[label] == self.each
        self._held[label] += 1
        self.left -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Rows by number."""

    rows: tuple[LabeledExample, ...]
    k: int
    """How many are chosen."""
    classes: Indices
    """Shape (rows,): the number of each row's class; 0 for all where classes do not matter."""

    @classmethod
    def from_context(cls, context: SelectionContext, k: int, *, balanced: bool) -> Pool:
        """The bench's pool; raises if it has too few rows, or no labels to balance by."""
        check_pool_size(k, context.pool)
        if balanced and not context.labels:
            raise TaskError(
                "Balanced demonstrations need a task whose labels are the same for every row",
                code="no-fixed-labels",
                hint="Leave out balanced",
                keyword="balanced",
            )
        first = {inputs_key(row): row for row in sorted(context.pool, key=lambda row: row.id, reverse=True)}
        rows = tuple(sorted(first.values(), key=lambda row: row.id))
        numbers = {label: number for number, label in enumerate(sorted({row.label for row in rows}))}
        classes = np.array([numbers[row.label] if balanced else 0 for row in rows], dtype=np.int64)
        return cls(rows=rows, k=k, classes=classes)

    def indices_of(self, examples: Sequence[Example]) -> Indices:
        """The number of the row with inputs equal to each example's, which is never shown for it; NONE where there is none."""
        numbers = {inputs_key(row): number for number, row in enumerate(self.rows)}
        return np.array([numbers.get(inputs_key(example), NOT_IN_POOL) for example in examples], dtype=np.int64)

    def quota(self, own: int = NOT_IN_POOL) -> ClassQuota:
        """For k demonstrations, of which the row `own` shall not be one."""
        sizes = np.bincount(self.classes)
        if own != NOT_IN_POOL:
            sizes[self.classes[own]] -= 1
        return ClassQuota(self.k, sizes)

    def select(self, ranking: Iterable[int], own: int) -> Demonstrations:
        """The first k of a ranking for which there is room; a row may stand in it several times, `own` is passed over."""
        room = self.quota(own)
        taken: dict[int, None] = {}
        for number in ranking:
            label = int(self.classes[number])
            if number != own and number not in taken and room.admits(label):
                room.take(label)
                taken[number] = None
        return tuple(self.rows[number] for number in taken)
