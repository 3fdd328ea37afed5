"""Divides labeled rows into folds, so that every row can be predicted from the rows of the other folds.

The fold of a row is a hash of what it shows to a model. It depends neither on its label nor on other rows: equal rows are in
the same fold, and a row stays in its fold when rows are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.tasks.division import WITHOUT_DEV, Division

FOLDS = 5
"""Number of folds of a task with few rows and no train split."""
FEW_ROWS = 500
"""With fewer labeled rows than this, a task without a train split is evaluated by folds."""
HOLD_OUT = 0.5
"""The fraction of the rows of a task without a train split that is held out for training, if there are no folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One fold of the labeled rows of a task, and the rows of the other folds."""

    number: int
    """Number of the fold, from 1 to `of`."""
    of: int
    """Number of folds."""
    split: str
    """The split whose rows are divided."""
    rows: Sequence[LabeledExample] = field(repr=False)
    """The rows of the fold, which are evaluated."""
    others: Sequence[LabeledExample] = field(repr=False)
    """The rows of the other folds, from which they are predicted."""
    division: Division = WITHOUT_DEV
    """How the other rows are divided into parts if the task defines no division."""


def fold_of(row: Example, of: int) -> int:
    """Returns the number of the fold that a row belongs to, from 1 to `of`."""
    return int(of * row.content.fraction("fold")) + 1


def make_fold(rows: Sequence[LabeledExample], number: int, of: int, split: str, *, division: Division = WITHOUT_DEV) -> Fold:
    """Returns one fold of labeled rows.

    Args:
        rows: All labeled rows.
        number: Number of the fold, from 1 to `of`.
        of: Number of folds, at least 2.
        split: The name of their split.
        division: How the other rows are divided into parts if the task defines no division.

    Raises:
        InputError: The number of folds, or of the fold, is out of range.
        TaskError: All rows belong to one fold.
    """
    if not (of >= 2 and 1 <= number <= of):
        raise InputError(
            "There must be at least 2 folds, which are numbered from 1",
            code="out-of-range",
            got=f"fold {number} of {of}",
            hint="Write folds=5",
            fold=number,
            folds=of,
        )
    numbers = [fold_of(row, of) for row in rows]
    if len(set(numbers)) < 2:
        raise TaskError(
            "Too few rows differ to divide them into folds: rows with equal inputs stay together",
            code="too-few-distinct-rows",
            got=f"{len(rows)} rows",
            hint="Add rows, or use another number of folds",
            distinct=len(set(numbers)),
            rows=len(rows),
        )
    return Fold(
        number=number,
        of=of,
        split=split,
        rows=tuple(row for row, each in zip(rows, numbers, strict=True) if each == number),
        others=tuple(row for row, each in zip(rows, numbers, strict=True) if each != number),
        division=division,
    )
