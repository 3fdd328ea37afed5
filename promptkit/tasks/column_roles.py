"""Chooses the label column and the input columns of a table that has no task file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from uuid import UUID

from promptkit.core.caller import setting
from promptkit.core.errors import TaskError, unknown
from promptkit.core.variables import LABEL, LABELS
from promptkit.tasks.images.cells import SUFFIXES
from promptkit.tasks.label_values import MAX_LABELS, value_text

_ID_NAMES = re.compile(
    r"(.*[\W_])?(id|ids|idx|index|uuid|guid|key|rowid|row)|.*[a-z]I[Dd]|unnamed: \d+|__index_level_\d+__|", re.ASCII
)
"""The names of columns that number or name rows: `id`, `ticket_id`, `TicketID`, `index`, the unnamed index of pandas."""
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})"
    r"([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s?([ap]m|Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)
Rows = Sequence[Mapping[str, object]]


def guess_label_column(rows: Rows, where: str) -> str:
    """Returns `label`, or the only column with few different values, each of which occurs at least twice on average.

    Args:
        rows: The rows.
        where: What to call the data in error messages.

    Raises:
        TaskError: There is no such column, or there are several.
    """
    columns = tuple(rows[0])
    if LABEL in columns:
        return LABEL
    counts = {column: len(set(_texts(rows, column))) for column in columns if not _is_nested(rows, column)}
    likely = [column for column, count in counts.items() if 2 <= count <= min(MAX_LABELS, len(rows) // 2)]
    likely = [column for column in likely if not _all_match(_DATE, _texts(rows, column))]
    if len(likely) == 1:
        return likely[0]
    candidates = f"{', '.join(likely)} could be" if likely else "none of them has few different values"
    raise TaskError(
        f"It is not clear which column of {where} contains the labels",
        code="ambiguous-label-column",
        got=f"{', '.join(columns)} ({candidates})",
        hint=f"Name it with {setting('label_column', python='label')}",
        file=where,
        columns=columns,
    )


def several_labels_column(rows: Rows, where: str) -> str:
    """Returns the column `labels` or `label`, which contains any number of labels for each row.

    Raises:
        TaskError: There is no such column.
    """
    found = next((name for name in (LABELS, LABEL) if name in rows[0]), None)
    if found is None:
        raise TaskError(
            f"It is not clear which column of {where} contains the labels",
            code="ambiguous-label-column",
            got=", ".join(rows[0]),
            hint=f"Name it with {setting('label_column', python='label')}",
            file=where,
            columns=tuple(rows[0]),
        )
    return found


def input_columns(rows: Rows, label: str, *, is_label: bool, where: str) -> tuple[list[str], dict[str, str]]:
    """Chooses the columns that a template shows.

    Args:
        rows: The rows.
        label: The column of the labels or of the answers.
        is_label: Whether it contains labels, so that a column with one value for each label repeats it.
        where: What to call the data in error messages.

    Returns:
        The chosen columns, and each column that is unsuitable with the reason; these are chosen only if there are no others.

    Raises:
        TaskError: There is no other column than the label's.
    """
    others = [column for column in rows[0] if column != label]
    if not others:
        reason, hint = f"{where} has no column other than {label}", "Add a column with the input text"
        raise TaskError(reason, code="no-input-column", hint=hint, file=where, column=label)
    rows = _without_repeats(rows, others)
    repeated = _texts(rows, label) if is_label else []
    reasons = {column: _why_left_out(rows, column, repeated) for column in others}
    chosen = [column for column in others if not reasons[column]]
    if not chosen:  # a table of nothing but numbers and ids
        chosen = [column for column in others if reasons[column] in (_ID, _DATES)] or others
    return chosen, {column: reason for column, reason in reasons.items() if reason}


def image_column(rows: Rows, columns: Sequence[str]) -> str | None:
    """Returns the first column that contains paths of image files only, if there is one."""
    return next((column for column in columns if all(_is_image_path(row[column]) for row in rows)), None)


def check_columns(names: Sequence[str], rows: Rows, where: str) -> None:
    """Raises TaskError for a name that is not a column of the rows; `where` is what to call the data in the message."""
    missing = next((column for column in names if column not in rows[0]), None)
    if missing is not None:
        raise unknown("column", missing, rows[0], hint=f"It was searched for in {where}", error=TaskError, file=where)


_ID, _DATES = "identifies the row", "contains dates"


def _why_left_out(rows: Rows, column: str, labels: Sequence[str]) -> str:
    """Why the default template does not show a column; empty if it does."""
    if _is_nested(rows, column):
        return "does not contain text"
    texts = _texts(rows, column)
    different = set(texts)
    if len(different) == 1 and len(rows) > 1:
        return "is constant"
    if _all_match(_DATE, texts):
        return _DATES
    is_unique, has_ids = len(different) == len(texts), all(map(_is_id, texts))
    if (is_unique and has_ids) or (_has_id_name(column) and (is_unique or has_ids)):
        return _ID
    if labels and len(labels) > 2 * len(different) and _one_to_one(texts, labels):
        return "repeats the label"
    return ""


def _without_repeats(rows: Rows, columns: Sequence[str]) -> Rows:
    """The rows that differ in some of the columns from those before them; a repeated row repeats its id."""
    cells = [_texts(rows, column) for column in columns if not _is_nested(rows, column)]
    first: dict[tuple[str, ...], Mapping[str, object]] = {}
    for row, *texts in zip(rows, *cells, strict=True):
        first.setdefault(tuple(texts), row)
    return [*first.values()] if cells else rows


def _has_id_name(column: str) -> bool:
    return any(_ID_NAMES.fullmatch(name) for name in (column.strip(), column.strip().lower()))


def _texts(rows: Rows, column: str) -> list[str]:
    return [value_text(row[column], column) for row in rows]


def _is_nested(rows: Rows, column: str) -> bool:
    return any(isinstance(row[column], list | Mapping) for row in rows)


def _all_match(pattern: re.Pattern[str], texts: Sequence[str]) -> bool:
    """Whether all texts that are not empty match a pattern, and there is one."""
    filled = [text.strip() for text in texts if text.strip()]
    return bool(filled) and all(map(pattern.fullmatch, filled))


def _is_id(text: str) -> bool:
    """Whether a text is a whole number or a UUID."""
    if text.strip().isdecimal():
        return True
    try:
        return len(text) >= 32 and bool(UUID(text))
    except ValueError:
        return False


def _one_to_one(texts: Sequence[str], labels: Sequence[str]) -> bool:
    pairs = len(set(zip(texts, labels, strict=True)))
    return pairs == len(set(texts)) == len(set(labels))


def _is_image_path(value: object) -> bool:
    return isinstance(value, str) and PurePath(value).suffix.lower() in SUFFIXES
