"""A table of results that can be shown as text, HTML, JSON or a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING

from promptkit.core.errors import missing_extra
from promptkit.core.shown_text import escaped, label_text
from promptkit.display.in_blocks import in_blocks
from promptkit.display.layout import Column
from promptkit.display.markup import as_csv, as_latex, as_markdown, in_one_line
from promptkit.display.text_table import as_text, fixed, signed, with_interval
from promptkit.metrics.intervals import Estimate

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group


Plain = str | int | float | bool | None
"""A value that names a row, a column or a series."""


def text_of(value: Plain) -> str:
    """Returns a value as text, with `none` for None."""
    return "none" if value is None else str(value)


Entry = Plain | Estimate
"""The content of one cell."""

MISSING = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of results, printed as text and displayed as HTML in notebooks."""

    title: str
    """The title."""
    columns: tuple[str, ...]
    """The names of the columns."""
    rows: tuple[tuple[Entry, ...], ...]
    """The cells of each row. An estimate is shown with its interval; None is a missing value."""
    names: int
    """The number of columns on the left that name the row."""
    caption: str = ""
    """The text below the table."""
    signed: Collection[str] = ()
    """The columns of differences, shown with a sign."""
    decimals: int = 3
    """The number of decimals of a number without an interval."""
    p_values: Collection[str] = ()
    """The columns of p-values, shown with two significant digits."""
    labels: Collection[str] = ()
    """The columns that contain labels, and those that are named after one; long labels are shortened where they are shown."""

    def records(self) -> list[dict[str, Entry]]:
        """Returns each row as column -> cell."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_json(self) -> list[dict[str, object]]:
        """Returns each row as column -> cell; an estimate has the keys value, low and high."""
        return [
            {name: asdict(entry) if isinstance(entry, Estimate) else entry for name, entry in record.items()}
            for record in self.records()
        ]

    def flat_columns(self) -> list[str]:
        """Returns the columns of a data frame; an estimate has three, such as accuracy, accuracy low, accuracy high."""
        columns: list[str] = []
        for name, entries in zip(self.columns, self._by_column(), strict=True):
            of_estimates = any(isinstance(entry, Estimate) for entry in entries)
            columns += [name, f"{name} low", f"{name} high"] if of_estimates else [name]
        return columns

    def flat_records(self) -> list[dict[str, Plain]]:
        """Returns each row as column -> value, with the columns of `flat_columns`."""
        rows = []
        for record in self.records():
            row: dict[str, Plain] = dict.fromkeys(self.flat_columns())
            for name, entry in record.items():
                if isinstance(entry, Estimate):
                    row |= {name: entry.value, f"{name} low": entry.low, f"{name} high": entry.high}
                else:
                    row[name] = entry
            rows.append(row)
        return rows

    def to_pandas(self) -> DataFrame:
        """Returns a pandas DataFrame; an estimate becomes three columns, such as accuracy, accuracy low, accuracy high.

        Raises:
            MissingPackage: pandas is not installed.
        """
        return to_dataframe([dict(record) for record in self.flat_records()])

    def to_csv(self) -> str:
        """Returns the table as comma-separated values, with the columns of `to_pandas`; a missing value is empty."""
        return as_csv(self.flat_columns(), self.flat_records())

    def to_markdown(self) -> str:
        """Returns the table in the Markdown of GitHub, with each interval after its figure."""
        return as_markdown(self._headers(), self._lines(), self.names)

    def to_latex(self) -> str:
        """Returns the table as a LaTeX tabular that needs the package booktabs; title and caption are comments above it."""
        return as_latex(self._headers(), self._lines(), self.names, notes=[self.title, self.caption])

    def _headers(self) -> list[str]:
        """The names of the columns as they are shown."""
        return [label_text(name) if name in self.labels else escaped(name) for name in self.columns]

    def texts(self) -> list[list[str]]:
        """Returns the text of each cell, with an interval on a second line."""
        return [[self._cell_text(column, entry) for column, entry in enumerate(row)] for row in self.rows]

    def _lines(self) -> list[list[str]]:
        """The text of each cell, in one line."""
        return [[in_one_line(text) for text in row] for row in self.texts()]

    def _by_column(self) -> list[tuple[Entry, ...]]:
        return [tuple(row[index] for row in self.rows) for index in range(len(self.columns))]

    def rich(self) -> Group:
        """Returns the table for the terminal, at most 80 characters wide.

        Names are wrapped; columns that do not fit are in further blocks below, each with the names of the rows.
        """
        columns = [self._layout_of(index, entries) for index, entries in enumerate(self._by_column())]
        return in_blocks(columns, self.names, title=escaped(self.title), caption=self.caption)

    def _layout_of(self, index: int, entries: Sequence[Entry]) -> Column:
        wraps = index < self.names or any(isinstance(entry, str) for entry in entries)
        cells = tuple(self._cell_text(index, entry) for entry in entries)
        return Column(header=self._headers()[index], cells=cells, wraps=wraps)

    def __str__(self) -> str:
        """Returns the table as text."""
        return as_text(self.rich())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Returns the table as HTML, for notebooks."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self._headers())
        body = "".join(f"<tr>{''.join(map(self._html_cell, range(len(row)), row))}</tr>" for row in self.rows)
        title, caption = f"<b>{escape(self.title)}</b>", f"<small>{escape(self.caption)}</small>"
        return f"<div>{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{caption}</div>"

    def _html_cell(self, column: int, entry: Entry) -> str:
        value, _, interval = escape(self._cell_text(column, entry)).partition("\n")
        alignment = "left" if column < self.names else "right"
        return f'<td style="text-align:{alignment}">{value}{f"<br><small>{interval}</small>" if interval else ""}</td>'

    def _cell_text(self, column: int, entry: Entry) -> str:
        name = self.columns[column]
        if isinstance(entry, Estimate):
            return signed(entry, "\n") if name in self.signed else with_interval(asdict(entry), "\n")
        if entry is None:
            return text_of(entry) if column < self.names else MISSING
        if name in self.p_values and isinstance(entry, float):
            return f"{entry:.2g}"
        if isinstance(entry, str):
            return label_text(entry) if name in self.labels else escaped(entry)
        return fixed(entry, self.decimals) if isinstance(entry, float) and column >= self.names else str(entry)


def to_dataframe(rows: list[dict[str, object]]) -> DataFrame:
    """Returns a pandas DataFrame.

    Raises:
        MissingPackage: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise missing_extra("pandas", "studies", "A DataFrame") from None
    return pd.DataFrame(rows)
