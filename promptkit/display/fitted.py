"""Fits a rich table into the width of a terminal, with the columns that do not fit in further blocks below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.display.layout import Column, blocks, wrapped
from promptkit.display.text_table import TERMINAL, new_table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


def fitted(table: Table, names: int = 1) -> Group:
    """Returns a table that is at most 80 characters wide.

    Args:
        table: A table of texts.
        names: The number of columns on the left that name the row; they are wrapped, and repeated in each block.
    """
    from rich.console import Group
    from rich.text import Text

    columns = [
        Column(header=str(column.header), cells=tuple(map(str, column.cells)), wraps=column.justify == "left")
        for column in table.columns
    ]
    parts: list[Table | Text] = []
    for widths in blocks(columns, names, TERMINAL):
        block = new_table()
        for index, width in widths.items():
            block.add_column(Text(wrapped(columns[index].header, width)), justify=table.columns[index].justify, no_wrap=True)
        for row in range(table.row_count):
            block.add_row(*(Text(wrapped(columns[index].cells[row], width)) for index, width in widths.items()))
        parts += [*([Text()] if parts else []), block]
    title = [Text(wrapped(str(table.title), TERMINAL), style="italic")] if table.title else []
    caption = [Text(wrapped(str(table.caption), TERMINAL), style="bright_black")] if table.caption else []
    return Group(*title, *parts, *caption)
