"""The pool of the similarity selectors: rows with distinct inputs, sorted by id, and the quota of each class.

Neither the order of the pool nor repeated rows change the selection: a repeated row counts once, and ties are broken by id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptkit.core.examples import Example, LabeledExample
from promptkit.manipulate.prompting.checks import check_has_labels, check_pool_size
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations, inputs_key

Indices = NDArray[np.int64]
"""Indices of pool rows or of classes."""
NOT_IN_POOL = -1
"""The index of a row that is not in the pool."""


class ClassQuota:
    """How many more demonstrations of each class are allowed, so that classes are as balanced as their sizes permit."""

    def __init__(self, k: int, sizes: Indices) -> None:
        """`k` is the number of demonstrations, `sizes` the number of available rows of each class, shape (classes,)."""
        self.left = k
        """Number of demonstrations still to be selected."""
        self.per_class = max(level for level in range(k + 1) if np.minimum(sizes, level).sum() <= k)
        """Number of demonstrations that every class may have."""
        self._extra = k - np.minimum(sizes, self.per_class).sum()
        """Number of classes that may have one more demonstration; the first classes that need one get it."""
        self._selected = Counter[int]()

    def admits(self, label: int) -> bool:
        """Returns whether one more demonstration of the class is allowed."""
        count = self._selected[label]
        return self.left > 0 and (count < self.per_class or (count == self.per_class and self._extra > 0))

    def take(self, label: int) -> None:
        """Counts one more demonstration of the class."""
        self._extra -= self._selected[label] == self.per_class
        self._selected[label] += 1
        self.left -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Pool rows, addressed by index."""

    rows: tuple[LabeledExample, ...]
    """Rows with distinct inputs, sorted by id."""
    k: int
    """Number of demonstrations to select."""
    classes: Indices
    """The class of each row, shape (rows,); 0 for all rows if demonstrations are not balanced."""

    @classmethod
    def from_context(cls, context: SelectionContext, k: int, *, balanced: bool) -> Pool:
        """Builds the pool; raises TaskError if it has too few rows, or no labels to balance by."""
        check_pool_size(k, context.pool)
        if balanced:
            check_has_labels(context, "Balanced demonstrations need", hint="Leave out balanced", keyword="balanced")
        return cls.from_rows(context.pool, k, balanced=balanced)

    @classmethod
    def from_rows(cls, rows: Sequence[LabeledExample], k: int, *, balanced: bool = False) -> Pool:
        """Builds the pool of rows; rows with equal inputs count once."""
        first = {inputs_key(row): row for row in sorted(rows, key=lambda row: row.id, reverse=True)}
        kept = tuple(sorted(first.values(), key=lambda row: row.id))
        class_ids = {label: index for index, label in enumerate(sorted({row.label for row in kept}))}
        classes = np.array([class_ids[row.label] if balanced else 0 for row in kept], dtype=np.int64)
        return cls(rows=kept, k=k, classes=classes)

    def indices_of(self, examples: Sequence[Example]) -> Indices:
        """Returns the index of the pool row with each example's inputs, which is never shown for it, or NOT_IN_POOL."""
        indices = {inputs_key(row): index for index, row in enumerate(self.rows)}
        return np.array([indices.get(inputs_key(example), NOT_IN_POOL) for example in examples], dtype=np.int64)

    def quota(self, own_index: int = NOT_IN_POOL) -> ClassQuota:
        """Returns the quota for k demonstrations, among all rows but `own_index`."""
        sizes = np.bincount(self.classes)
        if own_index != NOT_IN_POOL:
            sizes[self.classes[own_index]] -= 1
        return ClassQuota(self.k, sizes)

    def select(self, ranking: Iterable[int], own_index: int) -> Demonstrations:
        """Returns the first k rows of a ranking that the quota admits, without `own_index`; a ranking may repeat rows."""
        quota = self.quota(own_index)
        selected: dict[int, None] = {}
        for index in ranking:
            label = int(self.classes[index])
            if index != own_index and index not in selected and quota.admits(label):
                quota.take(label)
                selected[index] = None
        return tuple(self.rows[index] for index in selected)
