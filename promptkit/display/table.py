"""A table of a study's figures: as text, in a notebook, as JSON and as a frame. Knows nothing of how they were computed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from promptkit.core.errors import missing_extra
from promptkit.display.text_table import as_text, new_table, with_interval
from promptkit.metrics.intervals import Estimate

if TYPE_CHECKING:
    from rich.table import Table as RichTable


Plain = str | int | float | bool | None
"""A value as tables and plots name it."""


def text_of(value: Plain) -> str:
    """How a table names a value."""
    return "none" if value is None else str(value)


Entry = Plain | Estimate


ABSENT = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of figures. Prints itself, and shows itself in a notebook."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    """An estimate is shown above its interval; None is a figure that there is not."""
    names: int
    """How many columns, from the left, name what the others tell of."""
    caption: str = ""
    signed: Collection[str] = ()
    """The columns of differences."""
    decimals: int = 3
    """Of a number that has no interval."""

    def records(self) -> list[dict[str, Entry]]:
        """Each row by its columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_json(self) -> list[dict[str, object]]:
        """Each row by its columns; an estimate as value, low and high."""
        return [
            {name: asdict(entry) if isinstance(entry, Estimate) else entry for name, entry in record.items()}
            for record in self.records()
        ]

    def to_pandas(self) -> Any:
        """A frame; an estimate takes three columns: `accuracy`, `accuracy low`, `accuracy high`."""
        lines = []
        for record in self.records():
            line: dict[str, object] = {}
            for name, entry in record.items():
                if isinstance(entry, Estimate):
                    line |= {name: entry.value, f"{name} low": entry.low, f"{name} high": entry.high}
                else:
                    line[name] = entry
            lines.append(line)
        return to_dataframe(lines)

    def rich(self) -> RichTable:
        """For a terminal."""
        from rich.text import Text

        table = new_table(self.title, caption=self.caption or None)
        for number, name in enumerate(self.columns):
            table.add_column(Text(name), justify="left" if number < self.names else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(self._shown(*place)) for place in enumerate(row)))
        return table

    def __str__(self) -> str:
        """As text."""
        return as_text(self.rich())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """In a notebook."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{''.join(self._html(*place) for place in enumerate(row))}</tr>" for row in self.rows)
        title, caption = f"<b>{escape(self.title)}</b>", f"<small>{escape(self.caption)}</small>"
        return f"<div>{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{caption}</div>"

    def _html(self, column: int, entry: Entry) -> str:
        figure, _, rest = escape(self._shown(column, entry)).partition("\n")
        side = "left" if column < self.names else "right"
        return f'<td style="text-align:{side}">{figure}{f"<br><small>{rest}</small>" if rest else ""}</td>'

    def _shown(self, column: int, entry: Entry) -> str:
        if column < self.names:
            return text_of(entry) if not isinstance(entry, Estimate) else with_interval(asdict(entry))
        if entry is None:
            return ABSENT
        if isinstance(entry, Estimate):
            if self.columns[column] in self.signed:
                return f"{entry.value:+.3f}\n{entry.low:+.2f} to {entry.high:+.2f}"
            return with_interval(asdict(entry), "\n")
        return f"{entry:.{self.decimals}f}" if isinstance(entry, float) else str(entry)


def to_dataframe(lines: list[dict[str, object]]) -> Any:
    """A frame of pandas."""
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise missing_extra("pandas", "studies", "A frame of a study's figures") from None
    return pd.DataFrame(lines)
