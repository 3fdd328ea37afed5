"""Reads inputs, answer choices and labels from the columns of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isnan

from promptkit.core.errors import TaskError, unknown
from promptkit.tasks.readers import Row
from promptkit.tasks.source import ChoicesSource, Column, RegexColumn, Source


def cell(row: Row, column: str, where: str) -> object:
    """Returns the value of a column, or of its field as in `a.b`, without conversion.

    Raises:
        TaskError: The column is missing, or the value is null.
    """
    value: object = row
    for key in [column] if column in row else column.split("."):
        if not isinstance(value, Mapping) or key not in value:
            known = value if isinstance(value, Mapping) else row
            hint = f"It was searched for in {where}"
            raise unknown("column", column, map(str, known), hint=hint, error=TaskError, where=where)
        value = value[key]
    if is_null(value):
        reason = f"The column {column} is empty (null) in {where}"
        raise TaskError(reason, code="empty-cell", hint="Fill it in or remove the row", column=column, where=where)
    return value


def is_null(value: object) -> bool:
    """Returns whether a cell contains no value, as None or NaN say."""
    return value is None or (isinstance(value, float) and isnan(value))


def _cell(row: Row, column: str, where: str) -> object:
    """The value of a column with binary data decoded as UTF-8."""
    return decoded(cell(row, column, where), column, where)


def decoded(value: object, column: str, where: str) -> object:
    """Returns a value with binary data, also in lists, decoded as UTF-8, and checks that texts consist of characters.

    Args:
        value: The value of a cell.
        column: The column.
        where: What to call the row in error messages.

    Raises:
        TaskError: The binary data is not UTF-8, or a text contains a lone surrogate, which JSON and Python allow.
    """
    if isinstance(value, list):
        return [decoded(item, column, where) for item in value]
    if isinstance(value, str):
        _check_characters(value, column, where)
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(
            f"The column {column} contains binary data that is not UTF-8 text in {where}: {error.reason}",
            code="not-utf8",
            got=repr(value[:40]),
            hint="Use a column of text, or convert it",
            column=column,
            where=where,
            position=error.start,
        ) from None


def _check_characters(value: str, column: str, where: str) -> None:
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise TaskError(
            f"The column {column} contains a lone surrogate in {where}, which is half of a character",
            code="not-utf8",
            got=ascii(value[max(0, error.start - 20) : error.end + 20]),
            hint="Correct the text, for example with text.encode('utf-8', 'replace').decode()",
            column=column,
            where=where,
            position=error.start,
        ) from None


def input_text(row: Row, column: Column, where: str) -> str:
    """Returns the text of an input as `text` does, but a missing value is an empty text, as an empty cell of a CSV file is."""
    return "" if isinstance(column, str) and column in row and row[column] is None else text(row, column, where)


def row_ids(rows: Sequence[Row], column: Column | None, places: Sequence[str]) -> Sequence[str] | None:
    """Returns the user's own id of each row, empty where it is missing; None without a column.

    Args:
        rows: The rows.
        column: The column of the ids.
        places: What to call each row in error messages.
    """
    return None if column is None else [input_text(row, column, where) for row, where in zip(rows, places, strict=True)]


def text(row: Row, column: Column, where: str) -> str:
    """Returns the text of a column, or the part of it that a `RegexColumn` selects.

    Args:
        row: The row.
        column: The column.
        where: What to call the row in error messages.

    Raises:
        TaskError: The column is missing, empty or not text, or the pattern does not match.
    """
    name = column_name(column)
    value = _cell(row, name, where)
    if isinstance(value, (dict, list)):
        kind = type(value).__name__
        raise TaskError(
            f"The column {name} contains a {kind} in {where}",
            code="not-text",
            hint="Use a column of text",
            column=name,
            where=where,
            type=kind,
        )
    return _apply_pattern(cell_text(value), column, where)


def texts(row: Row, column: Column, where: str) -> tuple[str, ...]:
    """Returns the distinct texts of a column that contains a text or a list of texts.

    Raises:
        TaskError: The column is missing, has no text, or has an empty one.
    """
    name = column_name(column)
    value = _cell(row, name, where)
    items = value if isinstance(value, list) else [value]
    scalars = [item for item in items if not isinstance(item, (dict, list))]
    found = tuple(dict.fromkeys(_apply_pattern(cell_text(item), column, where) for item in scalars))
    if not found or not all(item.strip() for item in found) or len(scalars) < len(items):
        raise TaskError(
            f"The column {name} has no answer in {where}, or one that is not text",
            code="invalid-answer",
            got=str(value)[:100] or "an empty text",
            hint="Fill it in or remove the row",
            column=name,
            where=where,
        )
    return found


def answer_columns(source: Source) -> frozenset[str]:
    """Returns the columns of the label, the choices and the reasoning."""
    labels = source.label.values() if isinstance(source.label, dict) else (source.label,)
    columns = [column_name(column) for column in (*labels, *source.rationale.values())]
    if source.choices is not None:
        named = (source.choices.column, source.choices.names, *(source.choices.columns or ()))
        columns += [column for column in named if column is not None]
    return frozenset((*columns, *(column.partition(".")[0] for column in columns)))


def column_name(column: Column) -> str:
    """Returns the name of a column, also for a part of a column."""
    return column.column if isinstance(column, RegexColumn) else column


def _apply_pattern(content: str, column: Column, where: str) -> str:
    """The text, or the part of it that the pattern of a `RegexColumn` matches."""
    if not isinstance(column, RegexColumn):
        return content
    match = re.search(column.pattern, content)
    if match is None:
        raise TaskError(
            f"The pattern {column.pattern!r} does not match the column {column.column} of {where}",
            code="pattern-not-found",
            got=content[:100],
            hint="Change the pattern or remove the row",
            pattern=column.pattern,
            column=column.column,
            where=where,
        )
    return _first_group(match)


def _first_group(match: re.Match[str]) -> str:
    """The first group of a match, or the whole match if the pattern has no group."""
    return (match[1] or "") if match.re.groups else match[0]


def read_choices(row: Row, source: ChoicesSource, inputs: Mapping[str, str], where: str) -> tuple[str, ...]:
    """Returns the answer choices of a row, in order.

    Args:
        row: The row.
        source: Where the choices come from.
        inputs: The row's inputs, which a pattern is matched against.
        where: What to call the row in error messages.

    Raises:
        TaskError: There are fewer than two choices, two are equal, or one is empty or not text.
    """
    if source.pattern is not None:
        matches = [match for content in inputs.values() for match in re.finditer(source.pattern, content)]
        choices = tuple(dict.fromkeys(map(_first_group, matches)))
    elif source.columns is not None:
        choices = tuple(text(row, column, where) for column in source.columns)
    else:
        choices = _listed_choices(row, str(source.column), where)
    if len(choices) < 2 or len(set(choices)) < len(choices) or not all(choices):
        raise TaskError(
            f"There must be at least two answers to choose from, all different and none empty, in {where}",
            code="invalid-choices",
            got=" | ".join(map(repr, choices)) or "none",
            choices=choices,
            where=where,
        )
    return choices


def _listed_choices(row: Row, column: str, where: str) -> tuple[str, ...]:
    """The choices in a column of lists."""
    items = _cell(row, column, where)
    if not isinstance(items, list):
        raise TaskError(
            f"The column {column} does not contain a list in {where}",
            code="not-a-list",
            got=str(items)[:100],
            hint="Name a column of lists, or `columns` with one answer each, or a `pattern`",
            column=column,
            where=where,
        )
    if any(item is None or isinstance(item, (dict, list)) for item in items):
        raise TaskError(
            f"The list in the column {column} has an answer that is not text in {where}",
            code="choice-not-text",
            got=str(items)[:100],
            hint="Fill it in, or name `columns` with one answer each",
            column=column,
            where=where,
        )
    return tuple(map(cell_text, items))


def read_correct_choice(row: Row, source: Source, choices: Sequence[str], where: str) -> str:
    """Returns the choice that a row's label refers to.

    If the source has a column of names, the label is one of the names. Otherwise a number is the index of a choice, as are
    digits unless a choice is a number itself, and any other text is the choice's text.

    Args:
        row: The row.
        source: The source, which must have choices.
        choices: The choices of the row.
        where: What to call the row in error messages.

    Raises:
        TaskError: The label refers to none of the choices.
    """
    assert source.choices is not None
    label = text(row, source.label_column, where)
    if source.choices.names is not None:
        cell = _cell(row, source.choices.names, where)
        names = list(map(cell_text, cell)) if isinstance(cell, list) else []
        if len(names) == len(choices) and names.count(label) == 1:
            return choices[names.index(label)]
    elif _is_index(row, source, label, choices, where):
        if 0 <= int(label) - source.choices.count_from < len(choices):
            return choices[int(label) - source.choices.count_from]
    elif label in choices:
        return label
    raise TaskError(
        f"The label of {where} is not one of the row's choices",
        code="label-not-in-choices",
        got=f"{label!r}, with the choices {' | '.join(choices)[:200]}",
        label=label,
        choices=tuple(choices),
        where=where,
    )


def _is_index(row: Row, source: Source, label: str, choices: Sequence[str], where: str) -> bool:
    """Whether a label is the index of a choice: an integer, or digits where no choice is a number itself."""
    if isinstance(source.label, str) and type(_cell(row, source.label, where)) is int:
        return True
    return label.isdecimal() and not any(choice.isdecimal() for choice in choices)


def cell_text(value: object) -> str:
    """Returns a cell as text, with `true` and `false` for booleans as in JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)
