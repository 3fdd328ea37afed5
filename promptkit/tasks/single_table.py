"""What a task with a single table of labeled rows means: which rows are evaluated, and from which others.

With fewer than `FEW_ROWS` rows, an evaluation predicts every row from the rows of other folds, and predictors are fitted
and trained on all rows, so that none is left to evaluate the result on. With more rows, or with 1 fold, half of the rows are
held out from the evaluation, and only these are used. Evaluations, previews, baselines, fitting, training and the comparison
of engines all decide it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample, Part
from promptkit.tasks.division import DEFAULT, WITHOUT_FIT, division_of_fold
from promptkit.tasks.folds import FEW_ROWS, FOLDS, fold_of
from promptkit.tasks.sampling import by_hash, check_limit
from promptkit.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedRows:
    """Evaluated rows, and the task whose train split they are predicted from."""

    number: int
    """Number of the fold, from 1; 0 without folds."""
    task: Task
    """The task; with folds, one fold of it."""
    rows: tuple[LabeledExample, ...]
    """The rows."""


def number_of_folds(task: Task, split: str, folds: int | None = None) -> int:
    """Returns the number of folds by which a split is evaluated; 0 if its rows are predicted from the train split.

    Args:
        task: The task.
        split: The evaluated split.
        folds: The requested number; 1 for no folds, and None for the default.

    Raises:
        InputError: The number is not positive.
    """
    check_limit(folds, "folds")
    if folds is not None:
        return 0 if folds == 1 else folds
    if task.held_out is not None or not task.has_one_table or split != "test":
        return 0
    rows = task.labeled_rows(split)
    return FOLDS if len(rows) < FEW_ROWS and len({fold_of(row, FOLDS) for row in rows}) > 1 else 0


def evaluated_rows(
    task: Task, split: str, *, folds: int | None = None, limit: int | None = None, parts: tuple[Part, ...] = ("pool",)
) -> list[EvaluatedRows]:
    """Returns the rows that a run evaluates, by fold; folds without such rows are left out.

    Args:
        task: The task.
        split: The evaluated split.
        folds: The requested number of folds, as for `number_of_folds`.
        limit: The number of rows, those with the smallest hash of id; all if None.
        parts: The parts that the manipulation uses, as for `Task.fold`.

    Raises:
        InputError: The number of folds or rows is not positive.
        TaskError: The rows cannot be read, or all of them belong to one fold.
    """
    of = number_of_folds(task, split, folds)
    if not of:
        return [EvaluatedRows(number=0, task=task, rows=tuple(by_hash(task.rows(split), limit)))]
    rows = by_hash(task.labeled_rows(split), limit)
    numbers = {row.id: fold_of(row, of) for row in rows}
    return [
        EvaluatedRows(
            number=number,
            task=task.fold(number, of, split=split, parts=parts),
            rows=tuple(row for row in rows if numbers[row.id] == number),
        )
        for number in sorted({*numbers.values()})
    ]


def training_task(task: Task, split: str | None, folds: int | None = None, *, fits: bool = False) -> Task:
    """Returns the task whose train split is trained on: all rows of a single table if it is evaluated by folds.

    Some of the rows are dev rows, also in a fold.

    Args:
        task: The task.
        split: The split that would be evaluated; the task's default if None.
        folds: 1 if rows are held out from the training; None for the default.
        fits: Whether aligners are fitted too, on rows of their own.

    Raises:
        InputError: Another number of folds is given.
    """
    if folds not in (None, 1):
        raise InputError(
            "Training uses all rows of a single table, or holds out half of them; it has no folds",
            code="out-of-range",
            got=setting("folds", folds),
            hint=f"Leave it out, or write {setting('folds', 1)}, with which half of the rows can be evaluated afterwards",
            folds=folds,
        )
    split, division = task.spec.split if split is None else split, DEFAULT if fits else WITHOUT_FIT
    if task.held_out is not None:
        return replace(task, held_out=replace(task.held_out, division=division))
    return task.with_all_rows(split=split, division=division) if number_of_folds(task, split, folds) else task


def fitting_task(
    task: Task, *, split: str | None = None, folds: int | None = None, parts: tuple[Part, ...] = ("pool",)
) -> Task:
    """Returns the task whose train split a predictor is fitted on: all rows of a single table if it is evaluated by folds.

    Args:
        task: The task.
        split: The split that is evaluated; the task's default if None.
        folds: The number of folds, as for `number_of_folds`.
        parts: The parts that the manipulation uses, as for `Task.fold`.
    """
    split = task.spec.split if split is None else split
    if not number_of_folds(task, split, folds):
        return task
    return task.with_all_rows(split=split, division=division_of_fold(parts))


def uses_all_rows(task: Task) -> bool:
    """Whether all labeled rows of a task are its train split, as `training_task` returns it, so that none can be evaluated."""
    return task.held_out is not None and not task.held_out.of


def rows_of_run(folds: Sequence[EvaluatedRows]) -> list[LabeledExample]:
    """Returns the rows of all folds in the order of a run: by the hash of their ids."""
    return by_hash([row for fold in folds for row in fold.rows], None)
