"""The labeled rows that candidates are compared on, and the checks of these rows before the first request."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from promptkit.core.caller import setting
from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample, gold_labels
from promptkit.tasks.folds import FOLDS
from promptkit.tasks.label_values import is_number
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task

MIN_PER_LABEL = 2
"""The fewest rows of a label: one in a fold, and one in another that it is predicted from."""
SHOWN = 3
"""The most labels or rows that an error names."""
MOST_NUMBERS = 20
"""More different labels than this are numbers rather than classes, if all of them are numbers."""


def labeled_rows(task: Task, *, split: str | None = None, limit: int | None = None) -> list[LabeledExample]:
    """Returns the labeled rows of a task: all rows of a single table, and otherwise the rows of the train split.

    Args:
        task: The task.
        split: The split of a single table; the task's default if None.
        limit: The largest number of rows, those with the smallest hash of their id.

    Raises:
        TaskError: The rows cannot be read.
    """
    return by_hash(_in_order(task, split), limit)


def row_numbers(task: Task, split: str | None = None) -> dict[str, int]:
    """Returns the number of each labeled row in the data, from 1, by its id; see `labeled_rows`."""
    return {row.id: number for number, row in enumerate(_in_order(task, split), start=1)}


def _in_order(task: Task, split: str | None) -> Sequence[LabeledExample]:
    return task.labeled_rows(split) if task.hold_out is not None else task.rows("train")


def check_rows(task: Task, rows: Sequence[LabeledExample]) -> None:
    """Refuses labeled rows that candidates cannot be compared on.

    Raises:
        TaskError: The labels are numbers (`numeric-labels`), a label has a single row (`label-with-one-row`), or equal rows
            have different labels (`conflicting-labels`).
    """
    if not task.labels:
        return
    _check_no_numbers(task, rows)
    _check_no_conflicts(task, rows)
    counts = Counter(label for row in rows for label in gold_labels(row, task.spec.kind))
    rare = {label: counts[label] for label in task.labels if 0 < counts[label] < MIN_PER_LABEL}
    if rare:
        raise TaskError(
            f"{_labels(rare)} in one row only, and tuning needs {MIN_PER_LABEL} rows of a label: one to predict, and another "
            "to learn from",
            code="label-with-one-row",
            got=_shortened([f"{row.label}: {_text(row)}" for row in rows if {*gold_labels(row, task.spec.kind)} & {*rare}]),
            hint="Add rows with this label, give the row another label, or leave the row out",
            task=task.name,
            labels=tuple(rare),
            needed=MIN_PER_LABEL,
        )


def _check_no_numbers(task: Task, rows: Sequence[LabeledExample]) -> None:
    """Refuses labels that are measurements, which are not classes."""
    found = sorted({row.label for row in rows})
    if len(found) <= MOST_NUMBERS or task.spec.scale is not None or not all(map(is_number, found)):
        return
    raise TaskError(
        f"The labels of {task.name} are numbers, {len(found)} different ones, and tuning chooses between labels",
        code="numeric-labels",
        got=_shortened(found),
        hint="Divide the numbers into a few labels first, or give the values of a scale: "
        f"{setting('numeric', True)} with {setting('labels', list('12345'))}",
        task=task.name,
        labels=len(found),
    )


def _check_no_conflicts(task: Task, rows: Sequence[LabeledExample]) -> None:
    """Refuses rows that show the same to a model and have different labels."""
    groups: dict[object, list[LabeledExample]] = defaultdict(list)
    for row in rows:
        groups[row.content].append(row)
    conflicts = [group for group in groups.values() if len({(row.label, row.labels) for row in group}) > 1]
    if not conflicts:
        return
    named = [f"{_text(group[0])} ({', '.join(dict.fromkeys(row.label for row in group))})" for group in conflicts]
    count = sum(map(len, conflicts))
    raise TaskError(
        f"{count} rows of {task.name} have the same inputs as another row, and a different label",
        code="conflicting-labels",
        got=_shortened(named),
        hint="Keep one row of each, with the right label, or name the column that tells the rows apart with "
        f"{setting('inputs')}",
        task=task.name,
        inputs=len(conflicts),
        rows=count,
    )


def training_part(rows: Sequence[LabeledExample]) -> list[LabeledExample]:
    """Returns rows as few as the other folds of a row can have, with as few rows of every label as they can have."""
    of = max(2, min(FOLDS, len({row.content for row in rows})))
    by_label: dict[str, list[LabeledExample]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(row)
    return [row for group in by_label.values() for row in group[: len(group) - -(-len(group) // of)]]


def _text(row: LabeledExample) -> str:
    text = " ".join(" ".join(row.texts.values()).split())
    return repr(text[:60] + ("..." if len(text) > 60 else ""))


def _labels(rare: Mapping[str, int]) -> str:
    return f"The label {next(iter(rare))} occurs" if len(rare) == 1 else f"{len(rare)} labels occur"


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
