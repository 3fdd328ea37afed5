"""Writes rows with their predictions as .csv, .tsv or .jsonl."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from promptkit.core.errors import InputError
from promptkit.tasks.readers import Row

SUFFIXES: Mapping[str, str] = {".csv": ",", ".tsv": "\t", ".jsonl": ""}
"""Suffix of an output file -> its delimiter."""
DIGITS = 6
"""Decimals of probabilities."""


class TableWriter:
    """Formats rows with the columns of the input first, and the columns of the predictions after them.

    Args:
        suffix: The suffix of the file, a key of `SUFFIXES`.
        columns: The columns of the input.
        added: The columns of the predictions.
    """

    def __init__(self, suffix: str, columns: Sequence[str], added: Sequence[str]) -> None:
        self._delimiter = SUFFIXES[suffix]
        self._names = [*columns, *added]

    def header(self) -> str:
        """Returns the first line; empty for .jsonl."""
        return self._separated([self._names]) if self._delimiter else ""

    def lines(self, rows: Sequence[Row], added: Sequence[Row]) -> str:
        """Returns the lines of rows.

        Args:
            rows: The rows of the input.
            added: The values of the predictions' columns for each row.
        """
        merged = [{**row, **values} for row, values in zip(rows, added, strict=True)]
        if not self._delimiter:
            return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in merged)
        return self._separated([[cell_of(row.get(name)) for name in self._names] for row in merged])

    def _separated(self, lines: Sequence[Sequence[str]]) -> str:
        stream = io.StringIO()
        csv.writer(stream, delimiter=self._delimiter, lineterminator="\n").writerows(lines)
        return stream.getvalue()


def suffix_of(path: Path) -> str:
    """Returns the suffix of an output file.

    Raises:
        InputError: Files of this type are not written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"Predictions cannot be written to a file of type {path.suffix or path.name!r}",
            code="unsupported-output-type",
            hint=f"Use {', '.join(SUFFIXES)}",
            file=str(path),
            suffix=path.suffix,
            supported=tuple(SUFFIXES),
        )
    return suffix


def cell_of(value: object) -> str:
    """Returns a value as the text of a cell: nothing for None, `true` and `false` for booleans, JSON for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
