"""Reads the rows of delimiter-separated text.

In .csv and .tsv files, a cell that begins with a double quote ends at the next double quote that is not doubled (RFC 4180).
Other programs read quotes in .tsv files as ordinary characters, so a .tsv file whose number of rows depends on this is refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from promptkit.core.errors import TaskError
from promptkit.tasks.column_names import check_column_names

DELIMITERS = (",", ";", "\t", "|")
"""The delimiters that are tried if the file's default delimiter is not in the header."""
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}


def separated_rows(text: str, path: Path, delimiter: str) -> Iterator[Mapping[str, str]]:
    """Yields the rows of a text, column -> cell.

    Args:
        text: The contents of the file.
        path: The file, for error messages.
        delimiter: The default for the file's suffix. If the header does not contain it, other delimiters are tried.

    Raises:
        TaskError: The text cannot be parsed, or its number of rows depends on how quotes are read.
    """
    csv.field_size_limit(1 << 30)
    used = delimiter_of(text, delimiter)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=used, strict=True)
    end_of_row, rows = 0, []
    try:
        check_column_names(reader.fieldnames or (), str(path))
        for row in reader:
            if None in row or None in row.values():
                raise TaskError(
                    f"{path}, line {reader.line_num} does not have as many cells as the header, which has "
                    f"{len(reader.fieldnames or ())} with the delimiter {NAMES[used]}",
                    code="wrong-cell-count",
                    hint="Put cells that contain the delimiter or a line break in double quotes, and divide all lines by the "
                    "same delimiter",
                    file=str(path),
                    line=reader.line_num,
                    delimiter=used,
                )
            end_of_row = reader.line_num
            rows.append(row)
    except csv.Error as error:
        raise TaskError(
            f"{path}: the row that starts at line {end_of_row + 1} cannot be parsed: {error}",
            code="malformed-row",
            hint="Close the double quotes of each cell, and double the quotes inside a cell",
            file=str(path),
            line=end_of_row + 1,
        ) from None
    if delimiter == "\t":
        _check_literal(text, path, used, len(rows))
    yield from rows


def delimiter_of(text: str, delimiter: str) -> str:
    """Returns the default delimiter, or if the header does not contain it, the one that divides the header most."""
    counts = {mark: len(_first_row(text, mark)) for mark in (delimiter, *DELIMITERS)}
    return delimiter if counts[delimiter] != 1 else max(counts, key=lambda mark: counts[mark])


def _first_row(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def _check_literal(text: str, path: Path, delimiter: str, rows: int) -> None:
    """Refuses a text whose number of rows depends on how quotes are read, unless its header is quoted."""
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_NONE)
        header, *body = [row for row in reader if row] or [[]]
    except csv.Error:
        return
    is_valid = all(len(row) == len(header) for row in body) and not any(cell.startswith('"') for cell in header)
    if is_valid and len(body) != rows:
        raise TaskError(
            f"{path} has {rows} rows if double quotes enclose cells, and {len(body)} if they are ordinary characters",
            code="ambiguous-quotes",
            hint="Double the quotes of a cell and enclose it in quotes, as in a .csv file, or save the file as .jsonl",
            file=str(path),
            quoted=rows,
            literal=len(body),
        )
