"""New rows from any container: a list of mappings, texts or images, a data frame, or a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np

from promptkit.core.arguments import shortened
from promptkit.core.arrays import Array, as_array, as_uint8_array
from promptkit.core.errors import InputError, TaskError
from promptkit.predictor.columns import Columns
from promptkit.tasks.frames import IN_MEMORY, column_in_memory, is_column, is_frame, table_in_memory
from promptkit.tasks.readers import Row
from promptkit.tasks.typed_columns import typed_value

T = TypeVar("T")


def rows_of(data: object, columns: Columns) -> Iterator[Row]:
    """Yields rows as mappings from columns to values.

    Args:
        data: Rows in any container that `pk.task` accepts. If the predictor reads one column, a row may also be the value of
            that column alone: a text, the path of an image, or the pixels of an image; a missing value is a row without one.
        columns: The columns that the predictor reads.

    Raises:
        InputError: The data are not rows.
        TaskError: A data frame lacks a column.
    """
    if is_frame(data):
        rows = _frame_rows(data)
        if rows:
            columns.check(rows[0], IN_MEMORY)
        yield from rows
        return
    if is_column(data):
        data = column_in_memory(data)
    if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable):
        raise _not_rows(data, columns)
    for row in data:
        yield row if isinstance(row, Mapping) else _single(row, columns)


def _frame_rows(data: object) -> Sequence[Row]:
    try:
        return table_in_memory(data).rows
    except TaskError as error:
        if error.code != "no-rows":
            raise
        return ()


def chunks(rows: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    """Yields rows in lists of `size`; the last one may be shorter."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _single(value: object, columns: Columns) -> Row:
    """Returns the row of a value of the only column that is read."""
    if len(columns.names) == 1 and columns.choices is None:
        (name,) = columns.names
        if isinstance(value, np.ndarray) and columns.modality == "image":
            return {name: as_uint8_array(value) if value.dtype.kind in "iu" else as_array(value)}
        cell = typed_value(value, None)
        if (
            cell is None
            or isinstance(cell, str | bytes | Array)
            or (columns.modality == "text" and isinstance(cell, int | float))
        ):
            return {name: cell}
    raise _not_rows(value, columns)


def _not_rows(data: object, columns: Columns) -> InputError:
    names = ", ".join(f"{name!r}: ..." for name in columns.names)
    alone = f", or a list of the values of {columns.names[0]}" if len(columns.names) == 1 and columns.choices is None else ""
    return InputError(
        "These data are no rows to predict",
        code="not-rows",
        got=shortened(data),
        hint=f"Give a list of rows such as [{{{names}}}]{alone}",
        type=type(data).__name__,
        columns=columns.names,
    )
