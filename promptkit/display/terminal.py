"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from promptkit.display.layout import wrapped

if TYPE_CHECKING:
    from rich.console import RenderableType

MAX_WIDTH = 1000
"""The largest width of a table, in characters."""
MIN_LAST_COLUMN = 30
"""The smallest width of the last column, in characters."""
INDENT = "    "


def print_wide(table: RenderableType) -> None:
    """Prints a table at its full width, even if the terminal is narrower."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    width = Measurement.get(console, console.options.update(max_width=MAX_WIDTH), table).maximum
    console.width = max(console.width, width)
    console.print(table)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of text under column titles; if the terminal is too narrow, the last column is below the others."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    width = console.width
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles) - 1)]
    if sum(widths) + 3 * len(widths) + MIN_LAST_COLUMN > width:
        for *cells, last in (titles, *rows):
            first = "  ".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True)).rstrip()
            text = fill(last, width, initial_indent=INDENT, subsequent_indent=INDENT)
            console.print(Text(f"{wrapped(first, width)}\n{text}"), soft_wrap=True)
        return
    table = Table(box=SIMPLE_HEAD)
    for number, title in enumerate(titles):
        table.add_column(Text(title), no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
