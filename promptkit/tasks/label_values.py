"""The labels of a column: the declared ones, or the different values."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isnan

from promptkit.core.caller import by_caller, setting
from promptkit.core.errors import InputError, TaskError
from promptkit.tasks.columns import cell_text, decoded
from promptkit.tasks.gold_labels import label_cell, label_names

MAX_LABELS = 20
"""The largest number of different values of a column that is used for labels without naming the column."""


def check_declared(labels: Sequence[str]) -> None:
    """Checks labels that a user declared.

    Raises:
        InputError: There is only one, one is empty, or one occurs twice.
    """
    repeated = next((label for label in labels if labels.count(label) > 1), None)
    if repeated is not None:
        reason, hint = f"The label {repeated} is declared twice", "Give each label once"
        raise InputError(reason, code="duplicate-label", got=", ".join(labels), hint=hint, label=repeated)
    if not all(labels) or len(labels) == 1:
        raise InputError(
            "At least two labels must be declared, none of them empty",
            code="too-few-labels" if len(labels) == 1 else "empty-label",
            got=",".join(labels),
            hint=by_caller(
                command='Write --labels a,b,c, or a list such as --labels \'["a, b", "c"]\' for labels with commas',
                python='Write labels=["a", "b", "c"]',
            ),
            labels=tuple(labels),
        )


def label_values(rows: Sequence[Mapping[str, object]], column: str, *, is_named: bool = False) -> tuple[str, ...]:
    """Returns the different values of a label column: numbers in the order of their values, other labels alphabetically.

    Args:
        rows: The rows.
        column: The column.
        is_named: Whether the user named the column, so that it may have more than `MAX_LABELS` labels, if these repeat.

    Raises:
        TaskError: A value is empty, two values differ only in case, white space or Unicode form, or there are too
            many different ones.
    """
    counts = Counter(value_text(row.get(column), column) for row in rows)
    if empty := sum(count for value, count in counts.items() if not value.strip()):
        raise TaskError(
            f"The column {column} is empty in {empty} of {len(rows)} rows",
            code="empty-cells",
            hint=f"Fill it in or remove the rows; if it is a label, declare all labels with {setting('labels')} or in "
            f"a task file",
            column=column,
            empty=empty,
            rows=len(rows),
        )
    if len(counts) > MAX_LABELS and not (is_named and len(counts) <= len(rows) // 2):
        raise _too_many(counts, column, is_named=is_named)
    _check_alike(counts, column)
    return tuple(sorted(counts, key=label_order))


def several_label_values(rows: Sequence[Mapping[str, object]], column: str) -> tuple[str, ...]:
    """Returns the different labels in a column of lists of labels, in the order of `label_values`.

    Args:
        rows: The rows.
        column: The column.

    Raises:
        TaskError: A cell is null or no list of labels, two labels differ only in case, or there are too many different ones.
    """
    pairs = ((row, f"row {number}") for number, row in enumerate(rows, start=1))
    counts = Counter(name for row, where in pairs for name in label_names(label_cell(row, column, where), column, where))
    if len(counts) > MAX_LABELS and len(counts) > len(rows) // 2:
        raise _too_many(counts, column, is_named=True)
    _check_alike(counts, column)
    return tuple(sorted(counts, key=label_order))


def _check_alike(counts: Counter[str], column: str) -> None:
    if alike := labels_alike(tuple(counts)):
        raise TaskError(
            f"The column {column} has labels that differ only in case, white space or Unicode form",
            code="labels-alike",
            got=", ".join(f"{visible(label)} ({counts[label]})" for label in alike),
            hint=f"Correct the file, or declare the labels with {setting('labels')} or in a task file if they are different",
            column=column,
            labels=alike,
        )


def value_text(value: object, column: str) -> str:
    """Returns a value of a column as text; a missing one is empty.

    Raises:
        TaskError: The value is binary data that is not UTF-8.
    """
    return "" if value is None else cell_text(decoded(value, column, "the data"))


def labels_alike(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns the labels that differ from another one only in case, white space or Unicode form (composed or not)."""
    forms = Counter(map(_form, labels))
    return tuple(label for label in labels if forms[_form(label)] > 1)


def visible(label: str) -> str:
    """Returns a label in quotes, with escapes if it looks like another text of other characters."""
    return repr(label) if unicodedata.is_normalized("NFKC", label) else ascii(label)


def _form(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def is_number(text: str) -> bool:
    """Returns whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def label_order(label: str) -> tuple[float, str]:
    """Sorts numbers by value and before other labels, which are sorted as texts."""
    try:
        number = float(label)
    except ValueError:
        number = float("inf")
    return (float("inf") if isnan(number) else number, label)


def _too_many(counts: Counter[str], column: str, *, is_named: bool) -> TaskError:
    examples = ", ".join(value[:20] for value, _ in counts.most_common(3))
    name = f"declare the labels with {setting('labels', ['a', 'b', 'c'])}"
    if all(is_number(value) for value in counts):
        name = (
            f"divide its numbers into a few labels first, or give the values of a scale: {setting('numeric', True)} with "
            f"{setting('labels', list('12345'))}"
        )
    return TaskError(
        f"The column {column} has {len(counts)} different values, which are too many for undeclared labels",
        code="too-many-labels",
        got=f"{examples}, ...",
        hint=f"Name another column with {setting('label_column', python='label')}, or {name}"
        if is_named
        else f"Name the column of the labels with {setting('label_column', python='label')}, or {name}",
        column=column,
        values=len(counts),
    )
