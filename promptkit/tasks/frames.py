"""Reads tables that are in memory: data frames of pandas and polars, datasets, Arrow tables, and lists of mappings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from promptkit.core.arguments import shortened
from promptkit.core.errors import InputError, TaskError
from promptkit.tasks.arrow import column_values, rows_of_table
from promptkit.tasks.column_names import check_column_names
from promptkit.tasks.typed_columns import uniform_column, uniform_rows

if TYPE_CHECKING:
    import datasets
    import pandas

IN_MEMORY = "data in memory"
"""What error messages call a table."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one table."""

    rows: Sequence[Mapping[str, object]]
    """The rows, which all have the same columns."""
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Column -> its declared labels in order, where the source declares them (`datasets.ClassLabel`)."""


@runtime_checkable
class _ArrowStream(Protocol):
    """An object with the Arrow PyCapsule interface, such as a data frame of polars or an Arrow table."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


def tables_in_memory(data: object) -> dict[str, Table]:
    """Returns the tables of data in memory by split; a single table is the split `test`.

    Args:
        data: A data frame of pandas or polars, a `datasets.Dataset` or `DatasetDict`, an Arrow table, a sequence of mappings
            (column -> value), or a mapping from splits to any of these.

    Raises:
        InputError: It is none of these.
        TaskError: A table has no rows, or two columns with the same name.
    """
    if isinstance(data, Mapping):
        return {str(split): table_in_memory(table) for split, table in data.items()} if data else {"test": _checked([])}
    return {"test": table_in_memory(data)}


def table_in_memory(data: object) -> Table:
    """Returns one table; see `tables_in_memory`."""
    if _is_instance(data, "pandas", "DataFrame"):
        return _checked(_pandas_rows(cast("pandas.DataFrame", data)))
    if _is_instance(data, "datasets", "Dataset"):
        return _table_of_dataset(cast("datasets.Dataset", data))
    if isinstance(data, _ArrowStream) and not is_column(data):
        import pyarrow

        return _checked(rows_of_table(pyarrow.table(data), IN_MEMORY))
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping):
        rows = list(data)
        if all(isinstance(row, Mapping) and all(isinstance(name, str) for name in row) for row in rows):
            return _checked(uniform_rows(rows))
    raise InputError(
        "These data are not a table",
        code="not-a-table",
        got=shortened(data),
        hint="Give the path of a data file, a data frame, a dataset, or rows such as [{'text': 'fine', 'label': 'yes'}]",
        type=type(data).__name__,
    )


def is_frame(data: object) -> bool:
    """Returns whether data are a data frame, a dataset or an Arrow table, and not a plain sequence of rows."""
    is_known = _is_instance(data, "pandas", "DataFrame") or _is_instance(data, "datasets", "Dataset")
    return is_known or (isinstance(data, _ArrowStream) and not is_column(data))


def is_column(data: object) -> bool:
    """Returns whether data are a single column of pandas, polars or Arrow, which has an Arrow stream, too."""
    return any(_is_instance(data, *kind) for kind in (("pandas", "Series"), ("polars", "Series"), ("pyarrow", "ChunkedArray")))


def column_in_memory(data: object) -> Sequence[object]:
    """Returns the values of a single column as they are in a table."""
    if _is_instance(data, "pandas", "Series"):
        return _pandas_values(cast("pandas.Series", data))
    import pyarrow

    return column_values(pyarrow.chunked_array(data))


def _is_instance(data: object, package: str, name: str) -> bool:
    """Whether data are an instance of a class of a package, which is not imported for the check."""
    return any(kind.__module__.partition(".")[0] == package and kind.__name__ == name for kind in type(data).__mro__)


def _pandas_rows(frame: pandas.DataFrame) -> list[Mapping[str, object]]:
    names = [str(name) for name in frame.columns]
    check_column_names(names, IN_MEMORY)
    columns = [_pandas_values(frame.iloc[:, index]) for index in range(len(names))]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _pandas_values(column: pandas.Series) -> Sequence[object]:
    """The values of a column, by way of Arrow unless it contains Python objects."""
    import pyarrow

    if column.dtype == object:
        return uniform_column(column.tolist())
    try:
        return column_values(pyarrow.chunked_array([pyarrow.array(column, from_pandas=True)]))
    except pyarrow.ArrowException:  # a type that Arrow does not have, such as complex numbers
        return uniform_column(column.tolist())


def _table_of_dataset(data: datasets.Dataset) -> Table:
    import datasets

    features = dict(data.features)
    for column, feature in features.items():
        if isinstance(feature, datasets.Image):
            data = data.cast_column(column, datasets.Image(decode=False))
    names = {column: tuple(feature.names) for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)}
    rows = rows_of_table(data.with_format("arrow")[:], IN_MEMORY)
    return _checked([{**row, **{column: _class_name(row[column], names[column]) for column in names}} for row in rows], names)


def _class_name(value: object, names: Sequence[str]) -> object:
    """The name of a class; a number that stands for no class, such as -1, is unchanged."""
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _checked(rows: Sequence[Mapping[str, object]], class_names: Mapping[str, Sequence[str]] | None = None) -> Table:
    if not rows:
        raise TaskError("The data in memory have no rows", code="no-rows", file=IN_MEMORY)
    return Table(rows, class_names or {})
