"""Reads the rows of a table lazily, so that a file of any size needs little memory."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from promptkit.core.errors import TaskError, json_reason
from promptkit.tasks.arrow import single_values
from promptkit.tasks.column_names import check_column_names
from promptkit.tasks.readers import DuplicateKeyError, Row, data_suffix, json_value, not_gzip, unreadable
from promptkit.tasks.separated import NAMES, delimiter_of
from promptkit.tasks.workbook import plain_rows

SAMPLE = 2**16
"""Number of characters at the start of a file in which the delimiter is searched for."""
ROWS_AT_ONCE = 1024
"""Number of rows of a Parquet file that are in memory together."""


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row of a table."""

    values: Row
    """Column -> value. Columns may be missing in a row that cannot be parsed."""
    problem: str | None = None
    """Why the row cannot be parsed; None if it was."""


class TableReader(Protocol):
    """A file with rows, which can be read several times."""

    path: Path

    def rows(self) -> Iterator[InputRow]:
        """Yields the rows in the order of the file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """The columns and the number of rows of a table."""

    columns: tuple[str, ...]
    """The columns in the order of their first occurrence."""
    rows: int


def open_table(path: Path) -> TableReader:
    """Returns the reader of a .csv, .tsv, .jsonl, .parquet or .xlsx file; text files may be compressed with gzip.

    Raises:
        TaskError: There is no such file, or its type is not supported.
    """
    suffix = data_suffix(path)
    if not path.is_file():
        raise TaskError(f"There is no file {path}", code="no-such-file", hint=f"Types: {', '.join(READERS)}", file=str(path))
    if suffix not in READERS:
        raise unreadable(path)
    return READERS[suffix](path)


def measure(table: TableReader) -> TableSize:
    """Reads a table once and returns its columns and its number of rows.

    Raises:
        TaskError: The file cannot be read or parsed, or has no rows.
    """
    columns: dict[str, None] = {}
    count = 0
    for row in table.rows():
        columns.update(dict.fromkeys(row.values))
        count += 1
    if not count:
        raise TaskError(f"The file {table.path} has no rows", code="no-rows", file=str(table.path))
    return TableSize(columns=tuple(columns), rows=count)


class SeparatedReader:
    """Reads delimiter-separated text. A row with too few cells is padded with empty ones, and has a problem."""

    def __init__(self, path: Path, delimiter: str) -> None:
        """`delimiter` is the default for the suffix of the file; others are tried if the header does not contain it."""
        self.path, self._default = path, delimiter

    def rows(self) -> Iterator[InputRow]:
        """Yields the rows.

        Raises:
            TaskError: Two columns have the same name, or a row cannot be parsed.
        """
        csv.field_size_limit(1 << 30)
        with _open_text(self.path) as stream:
            used = delimiter_of(stream.read(SAMPLE), self._default)
        with _open_text(self.path) as stream:
            reader = csv.reader(stream, delimiter=used, strict=True)
            try:
                header = next(reader, [])
                check_column_names(header, str(self.path))
                for cells in reader:
                    if cells:
                        yield _separated_row(header, cells, used)
            except csv.Error as error:
                raise TaskError(
                    f"{self.path}: the row that ends at line {reader.line_num} cannot be parsed: {error}",
                    code="malformed-row",
                    hint="Close the double quotes of each cell, and double the quotes inside a cell",
                    file=str(self.path),
                    line=reader.line_num,
                ) from None


class JsonlReader:
    """Reads a file with one JSON object per line. Any other line has a problem."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> Iterator[InputRow]:
        """Yields the rows. Blank lines are left out."""
        with _open_text(self.path, newline="\n") as stream:
            for line in stream:
                if line.strip():
                    yield _json_row(line)


class ParquetReader:
    """Reads a Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> Iterator[InputRow]:
        """Yields the rows.

        Raises:
            TaskError: The file is not a Parquet file.
        """
        import pyarrow.lib
        import pyarrow.parquet

        try:
            file = pyarrow.parquet.ParquetFile(self.path)
            check_column_names(file.schema_arrow.names, str(self.path))
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                columns = [single_values(column) for column in batch.columns]
                for values in zip(*columns, strict=True):
                    yield InputRow(dict(zip(batch.schema.names, values, strict=True)))
        except pyarrow.lib.ArrowException as error:
            reason = f"The file {self.path} cannot be read as Parquet: {error}"
            raise TaskError(reason, code="not-parquet", file=str(self.path)) from None


class WorkbookReader:
    """Reads the first sheet of an Excel workbook, which is in memory completely."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> Iterator[InputRow]:
        """Yields the rows.

        Raises:
            MissingPackage: openpyxl is not installed.
            TaskError: The file is not a workbook, or a column has no name or the name of another one.
        """
        yield from map(InputRow, plain_rows(self.path))


@contextmanager
def _open_text(path: Path, newline: str = "") -> Iterator[IO[str]]:
    """Opens a text file, which may be compressed with gzip.

    Raises:
        TaskError: While it is read, it turns out not to be UTF-8, or to be damaged.
    """
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    try:
        if compressed:
            with gzip.open(path, "rt", encoding="utf-8-sig", newline=newline) as text:
                yield text
        else:
            with path.open(encoding="utf-8-sig", newline=newline) as text:
                yield text
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise not_gzip(path, error) from None


def _separated_row(header: list[str], cells: list[str], delimiter: str) -> InputRow:
    if len(cells) == len(header):
        return InputRow(dict(zip(header, cells, strict=True)))
    padded = [*cells, *[""] * (len(header) - len(cells))]
    problem = f"The row has {len(cells)} cells, and the header has {len(header)} with the delimiter {NAMES[delimiter]}"
    return InputRow(dict(zip(header, padded, strict=False)), problem)


def _json_row(line: str) -> InputRow:
    try:
        row = json_value(line)
    except DuplicateKeyError as error:
        return InputRow({}, f"The line has several values of {error.key!r}")
    except (ValueError, RecursionError) as error:
        return InputRow({}, f"The line is not JSON: {json_reason(error)}")
    return InputRow(row) if isinstance(row, dict) else InputRow({}, "The line is not a JSON object")


def _not_utf8(path: Path, error: UnicodeDecodeError) -> TaskError:
    return TaskError(f"The file {path} is not UTF-8: {error.reason}", code="not-utf8", hint="Save it as UTF-8", file=str(path))


READERS: Mapping[str, type[JsonlReader] | type[ParquetReader] | type[WorkbookReader] | partial[SeparatedReader]] = {
    ".csv": partial(SeparatedReader, delimiter=","),
    ".tsv": partial(SeparatedReader, delimiter="\t"),
    ".jsonl": JsonlReader,
    ".parquet": ParquetReader,
    ".xlsx": WorkbookReader,
}
"""Suffix of a file -> its reader."""
