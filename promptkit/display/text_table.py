"""Tables of results as text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


WIDTH = 100


FEW_LABELS = 6


def as_text(table: Table) -> str:
    """A table as plain text, for print and for notebooks."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_jupyter=False)
    console.print(table)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.rstrip("\n")


def new_table(title: str, caption: str | None = None) -> Table:
    """An empty table in the house style."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    return Table(
        title=Text(title),
        caption=caption,
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )


def with_interval(metric: Mapping[str, float], gap: str = " ") -> str:
    """A figure and its 95% interval."""
    return f"{metric['value']:.3f}{gap}{metric['low']:.2f}–{metric['high']:.2f}"
