"""A table of results that can be shown as text, HTML, JSON or a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING

from promptkit.core.errors import missing_extra
from promptkit.display.text_table import as_text, new_table, signed, with_interval
from promptkit.metrics.intervals import Estimate

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table as RichTable


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

    def records(self) -> list[dict[str, Entry]]:
        """Returns each row as column -> cell."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_json(self) -> list[dict[str, object]]:
        """Returns each row as column -> cell; an estimate has the keys value, low and high."""
        return [
            {name: asdict(entry) if isinstance(entry, Estimate) else entry for name, entry in record.items()}
            for record in self.records()
        ]

    def to_pandas(self) -> DataFrame:
        """Returns a pandas DataFrame; an estimate becomes three columns, such as accuracy, accuracy low, accuracy high.

        Raises:
            MissingPackage: pandas is not installed.
        """
        rows = []
        for record in self.records():
            row: dict[str, object] = {}
            for name, entry in record.items():
                if isinstance(entry, Estimate):
                    row |= {name: entry.value, f"{name} low": entry.low, f"{name} high": entry.high}
                else:
                    row[name] = entry
            rows.append(row)
        return to_dataframe(rows)

    def rich(self) -> RichTable:
        """Returns a rich table for the terminal."""
        from rich.text import Text

        table = new_table(self.title, caption=self.caption or None)
        for number, name in enumerate(self.columns):
            table.add_column(Text(name), justify="left" if number < self.names else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(self._cell_text(column, entry)) for column, entry in enumerate(row)))
        return table

    def __str__(self) -> str:
        """Returns the table as text."""
        return as_text(self.rich())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Returns the table as HTML, for notebooks."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{''.join(map(self._html_cell, range(len(row)), row))}</tr>" for row in self.rows)
        title, caption = f"<b>{escape(self.title)}</b>", f"<small>{escape(self.caption)}</small>"
        return f"<div>{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{caption}</div>"

    def _html_cell(self, column: int, entry: Entry) -> str:
        value, _, interval = escape(self._cell_text(column, entry)).partition("\n")
        alignment = "left" if column < self.names else "right"
        return f'<td style="text-align:{alignment}">{value}{f"<br><small>{interval}</small>" if interval else ""}</td>'

    def _cell_text(self, column: int, entry: Entry) -> str:
        if column < self.names:
            return text_of(entry) if not isinstance(entry, Estimate) else with_interval(asdict(entry))
        if entry is None:
            return MISSING
        if isinstance(entry, Estimate):
            if self.columns[column] in self.signed:
                return signed(entry, "\n")
            return with_interval(asdict(entry), "\n")
        return f"{entry:.{self.decimals}f}" if isinstance(entry, float) else str(entry)


def to_dataframe(rows: list[dict[str, object]]) -> DataFrame:
    """Returns a pandas DataFrame.

    Raises:
        MissingPackage: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise missing_extra("pandas", "studies", "A DataFrame of a study") from None
    return pd.DataFrame(rows)
