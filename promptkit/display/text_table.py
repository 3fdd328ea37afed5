"""Builds rich tables in a common style and renders them as text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from promptkit.metrics.intervals import Estimate


WIDTH = 100
"""The width of a table as text, in characters."""

TERMINAL = 80
"""The width of a terminal by default, into which tables of results fit."""

NAME_WIDTH = 15
"""The width of a column of names in a table with several metrics, so that the table has at most 80 characters."""

FEW_LABELS = 6
"""The largest number of labels that tables list one by one."""


def as_text(table: RenderableType) -> str:
    """Returns a table as plain text."""
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=WIDTH, color_system=None, force_jupyter=False).print(table)
    return stream.getvalue().rstrip("\n")


def new_table(title: str | None = None, caption: str | None = None) -> Table:
    """Returns an empty table in the common style."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    return Table(
        title=None if title is None else Text(title),
        caption=caption,
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )


def one_keyword_per_line(spelling: str) -> str:
    """Returns `name:key=value` with a line for each keyword; a long keyword has another line for its value."""
    name, *keywords = spelling.split(":")
    lines = [f" {key}" if len(key) < NAME_WIDTH else " " + key.replace("=", "=\n  ", 1) for key in keywords]
    return "\n".join([name, *lines])


def with_interval(metric: Mapping[str, float], gap: str = " ") -> str:
    """Returns a value and its interval as text: 0.873 0.85–0.90, or -0.146 -0.41 to 0.11 for an interval below 0."""
    value, low, high = fixed(metric["value"], 3), fixed(metric["low"], 2), fixed(metric["high"], 2)
    return f"{value}{gap}{low}{' to ' if low.startswith('-') else '–'}{high}"


def fixed(value: float, decimals: int) -> str:
    """Returns a number with some decimals, without the sign of a negative number that is rounded to 0."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def signed(difference: Estimate, gap: str = " ") -> str:
    """Returns a difference and its interval as text, with signs: -0.123 -0.15 to -0.10."""
    return f"{difference.value:+.3f}{gap}{difference.low:+.2f} to {difference.high:+.2f}"
