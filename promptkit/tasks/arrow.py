"""Reads the rows of Arrow tables, which Parquet files, pandas, polars and datasets provide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.tasks.column_names import check_column_names
from promptkit.tasks.typed_columns import uniform_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow


def rows_of_table(table: pyarrow.Table, name: str) -> list[Mapping[str, object]]:
    """Returns the rows of a table.

    Args:
        table: The table.
        name: What to call it in error messages, such as the path of a file.

    Raises:
        TaskError: Two columns have the same name.
    """
    names: Sequence[str] = table.column_names
    check_column_names(names, name)
    columns = [column_values(table.column(index)) for index in range(len(names))]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def column_values(column: pyarrow.ChunkedArray) -> Sequence[object]:
    """Returns the values of a column in their uniform form."""
    return uniform_column(single_values(column))


def single_values(column: pyarrow.ChunkedArray | pyarrow.Array) -> Sequence[object]:
    """Returns the values of a column as they are, or the closest types of Python; no value depends on another one."""
    import pyarrow

    kind = column.type
    if pyarrow.types.is_float32(kind) or pyarrow.types.is_float16(kind):
        return [None if value is None else float(str(value)) for value in _as_numpy(column)]
    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    values: Sequence[object] = column.to_pylist()
    return values


def _as_numpy(column: pyarrow.ChunkedArray | pyarrow.Array) -> list[object]:
    """The numbers of a column as NumPy scalars of its type, whose text is the shortest one; None for missing ones."""
    kind = column.type.to_pandas_dtype()
    return [None if value is None else kind(value) for value in column.to_pylist()]
