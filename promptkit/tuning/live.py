"""The best candidates while tuning runs: a live table on a terminal or in a notebook, and otherwise a line for each block."""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager
from html import escape
from typing import Any, Self

from promptkit.display.progress import Display, in_notebook
from promptkit.tuning.tuning import TuningProgress

_log = logging.getLogger(__name__)


class LiveLeaderboard(Display[TuningProgress], AbstractContextManager["LiveLeaderboard"]):
    """Shows the best candidates on a terminal; removed when tuning ends."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, state: TuningProgress) -> None:
        """Updates the table."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None)
        table.add_column("best so far")
        table.add_column("score", justify="right")
        for name, score in state.leaders:
            table.add_row(Text(name), f"{score:.3f}")
        self._live.update(Group(table, Text(state.line, style="bright_black")))


class NotebookLeaderboard(Display[TuningProgress]):
    """Shows the best candidates in the output of a notebook cell; removed when tuning ends."""

    def __init__(self) -> None:
        from IPython.display import display

        self._handle: Any = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def __call__(self, state: TuningProgress) -> None:
        """Updates the table."""
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{score:.3f}</td></tr>" for name, score in state.leaders)
        html = f"<table><tr><th>best so far</th><th>score</th></tr>{rows}</table>{escape(state.line)}"
        self._handle.update({"text/html": html, "text/plain": state.line}, raw=True)


class LoggedLines(Display[TuningProgress]):
    """Logs the state as one line."""

    def __call__(self, state: TuningProgress) -> None:
        """Logs a line."""
        _log.warning("%s", state.line)


class PrintedLines(Display[TuningProgress]):
    """Writes the state as one line to standard error."""

    def __call__(self, state: TuningProgress) -> None:
        """Writes a line."""
        sys.stderr.write(f"{state.line}\n")


def shown_by_default() -> Display[TuningProgress]:
    """Returns what shows the progress of tuning in Python."""
    return NotebookLeaderboard() if in_notebook() else LoggedLines()
