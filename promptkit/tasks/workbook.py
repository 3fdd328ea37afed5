"""Reads the rows of the first sheet of an Excel workbook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from promptkit.core.errors import TaskError, first_line, missing_extra
from promptkit.tasks.column_names import check_column_names
from promptkit.tasks.typed_columns import uniform_rows


def workbook_rows(path: Path) -> list[Mapping[str, object]]:
    """Returns the rows of the first sheet of an .xlsx file with uniform values; see `plain_rows`."""
    return uniform_rows(plain_rows(path))


def plain_rows(path: Path) -> list[Mapping[str, object]]:
    """Returns the rows of the first sheet of an .xlsx file, whose first row contains the names of the columns.

    Rows and columns without any value are left out. A formula has the value that Excel stored for it.

    Raises:
        MissingPackage: openpyxl is not installed.
        TaskError: The file is not a workbook, or a column has no name or the name of another one.
    """
    try:
        import openpyxl
    except ImportError:
        raise missing_extra("openpyxl", "xlsx", f"Reading {path.name}") from None
    with path.open("rb") as file:  # an unreadable file is an error of the system, and not of the format
        try:
            sheet = openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets[0]
            table = [list(cells) for cells in sheet.iter_rows(values_only=True)]
        except Exception as error:  # openpyxl passes on any error of zipfile and of its XML parser
            reason = f"The file {path} cannot be read as an Excel workbook: {first_line(error)}"
            raise TaskError(reason, code="not-xlsx", hint="Save it as .xlsx or .csv", file=str(path)) from None
    return _rows([cells for cells in table if any(cell is not None for cell in cells)], path)


def _rows(table: Sequence[Sequence[object]], path: Path) -> list[Mapping[str, object]]:
    if not table:
        return []
    header, *body = table
    used = [index for index, name in enumerate(header) if name is not None or any(_at(cells, index) for cells in body)]
    unnamed = next((index for index in used if header[index] is None), None)
    if unnamed is not None:
        raise TaskError(
            f"{path}: the column {unnamed + 1} has values, but no name in the first row",
            code="unnamed-column",
            hint="Write the names of the columns into the first row of the first sheet",
            file=str(path),
            column=unnamed + 1,
        )
    names = [str(header[index]) for index in used]
    check_column_names(names, str(path))
    return [{name: _at(cells, index) for name, index in zip(names, used, strict=True)} for cells in body]


def _at(cells: Sequence[object], index: int) -> object:
    return cells[index] if index < len(cells) else None
