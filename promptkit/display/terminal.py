"""What the command line shows on a terminal besides text: tables of which nothing is cut off, and a bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table as RichTable

WIDEST = 1000
"""Columns; a table is as wide as its figures, whatever the terminal."""


def print_wide(table: RichTable) -> None:
    """A table as wide as its figures, so that none is cut off."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    widest = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    console.width = max(console.width, widest)
    console.print(table)


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows below their titles."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for number, title in enumerate(titles):
        table.add_column(Text(title), no_wrap=number == 0, overflow="fold")  # nothing is cut off
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


class Bar:
    """tqdm on standard error, started with the first progress."""

    def __init__(self, *, hidden: bool, unit: str = "row") -> None:
        self._unit = unit
        self._hidden = hidden or not sys.stderr.isatty()
        self._bar: Any = None

    def __call__(self, done: int, total: int, told: str = "") -> None:
        """Show how far it is, and what is `told` besides."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit=self._unit, disable=self._hidden, file=sys.stderr)
        self._bar.set_postfix_str(told, refresh=False)
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
