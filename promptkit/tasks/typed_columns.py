"""Makes the values of columns independent of the file format or library that they come from.

A CSV file contains texts only, JSON has no dates, and pandas has no missing integers. After these rules, equal data are equal
rows: missing values of every kind (None, NaN, NA, NaT) are None; a column of floats with missing values in which every number
is whole is a column of integers; dates and times are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time
from typing import TYPE_CHECKING, Literal, cast

from promptkit.core.arguments import as_python

if TYPE_CHECKING:
    import numpy as np

_MISSING = ("NAType", "NaTType")
"""The types of pandas for missing values."""
_BOOLEANS = {"True": True, "False": False}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
ColumnType = Literal["boolean", "integer", "float", "date"]
"""The type of a whole column, which decides how a single value is written."""


def uniform_rows(rows: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Returns rows that all have the same columns, in the order of their first occurrence, with uniform values."""
    given = list(rows)
    names = list(dict.fromkeys(name for row in given for name in row))
    columns = {name: uniform_column([row.get(name) for row in given]) for name in names}
    return [{name: columns[name][index] for name in names} for index in range(len(given))]


def uniform_column(values: Iterable[object]) -> Sequence[object]:
    """Returns the values of a typed column in their uniform form."""
    plain = [_plain(value) for value in values]
    present = [value for value in plain if value is not None]
    if present and len(present) < len(plain) and all(isinstance(value, float) and value.is_integer() for value in present):
        return [int(value) if isinstance(value, float) else None for value in plain]
    if present and all(isinstance(value, datetime) for value in present):
        return _dates(plain)
    return plain


def boolean_columns(rows: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, object]]:
    """Returns the rows of a text file, with booleans in the columns that contain only `True`, `False` and empty cells.

    The spellings `true` and `false` need no conversion, because booleans have them in a prompt.
    """
    names = [name for name in (rows[0] if rows else ()) if {row[name] for row in rows} - {""} <= _BOOLEANS.keys()]
    return [{**row, **{name: _BOOLEANS.get(row[name], "") for name in names}} for row in rows] if names else rows


def column_type(texts: Iterable[str]) -> ColumnType | None:
    """Returns the type of a column by the texts of its values; None for a column of texts, and for one without values.

    Args:
        texts: The values as a prompt shows them; missing ones are empty.
    """
    present = {text for text in texts if text}
    if not present:
        return None
    if present <= {"true", "false"}:
        return "boolean"
    if all(_DATE.fullmatch(text) for text in present):
        return "date"
    kinds: Mapping[ColumnType, type[int] | type[float]] = {"integer": int, "float": float}
    return next((kind for kind, number in kinds.items() if all(_is_spelled(text, number) for text in present)), None)


def _is_spelled(text: str, number: type[int] | type[float]) -> bool:
    """Whether a text is a number as Python writes it."""
    try:
        return str(number(text)) == text
    except ValueError:
        return False


def typed_value(value: object, kind: ColumnType | None) -> object:
    """Returns a single value as it would be in a whole column of a type, so that equal values have equal texts.

    Args:
        value: The value of a cell.
        kind: The type of the column; None if it has none.
    """
    value = _plain(value)
    if isinstance(value, datetime):
        return str(value.date() if kind == "date" and value.time() == time() else value)
    if kind == "boolean" and isinstance(value, str):
        return _BOOLEANS.get(value, value)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return float(value) if kind == "float" and type(value) is int else value


def _plain(value: object) -> object:
    """A value with NumPy's types converted to those of Python, and None for a missing value."""
    if type(value).__name__ == "float32":  # its shortest text, not that of the nearest float64
        value = float(str(value))
    value = as_python(value)
    if type(value).__name__ == "ndarray":
        return cast("np.ndarray", value).tolist()
    if value is None or type(value).__name__ in _MISSING or value != value:  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, tuple):
        return list(value)
    return value


def _dates(values: Sequence[object]) -> list[object]:
    """Returns times as texts: without the time of day if all are at midnight."""
    times = [value for value in values if isinstance(value, datetime)]
    are_dates = all(value.time() == time() for value in times)
    texts = {value: str(value.date() if are_dates else value) for value in times}
    return [texts[value] if isinstance(value, datetime) else None for value in values]
