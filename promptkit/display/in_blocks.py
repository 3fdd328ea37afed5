"""Shows a table in the width of a terminal, with the columns that do not fit in further blocks below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from promptkit.display.layout import Column, blocks, wrapped
from promptkit.display.text_table import TERMINAL, new_table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


def for_terminal(table: Table, names: int = 1) -> Group:
    """Returns a rich table in blocks that are at most 80 characters wide.

    Args:
        table: A table of texts. Columns that are justified to the left are wrapped.
        names: The number of columns on the left that name the row.
    """
    columns = [
        Column(header=str(column.header), cells=tuple(map(str, column.cells)), wraps=column.justify == "left")
        for column in table.columns
    ]
    return in_blocks(columns, names, title=str(table.title or ""), caption=str(table.caption or ""))


def in_blocks(columns: Sequence[Column], names: int, *, title: str, caption: str) -> Group:
    """Returns a table in blocks that are at most 80 characters wide.

    Args:
        columns: The columns.
        names: The number of columns on the left that name the row; they are repeated in each block.
        title: The title, or an empty text.
        caption: The text below the table, or an empty text.
    """
    from rich.console import Group
    from rich.text import Text

    tables = [_block(columns, widths) for widths in blocks(columns, names, TERMINAL)]
    between = [part for table in tables for part in (table, Text())][:-1]
    above = [Text(wrapped(title, TERMINAL), style="italic")] if title else []
    below = [Text(wrapped(caption, TERMINAL), style="bright_black")] if caption else []
    return Group(*above, *between, *below)


def _block(columns: Sequence[Column], widths: Mapping[int, int]) -> Table:
    """Returns a rich table of the columns with these indices, each wrapped to its width."""
    from rich.text import Text

    table = new_table()
    for index, width in widths.items():
        header = Text(wrapped(columns[index].header, width))
        table.add_column(header, justify="left" if columns[index].wraps else "right", no_wrap=True)
    for row in range(len(columns[0].cells)):
        table.add_row(*(Text(wrapped(columns[index].cells[row], width)) for index, width in widths.items()))
    return table
