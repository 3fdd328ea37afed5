"""The best candidates while tuning runs: a live table on a terminal or in a notebook, and otherwise a line for each block."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import AbstractContextManager
from html import escape
from typing import TYPE_CHECKING, Any, Self

from promptkit.display.progress import Display, in_notebook
from promptkit.tuning.tuning import TuningProgress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STARTING = "starting"
"""What is shown until the first prompt has answered."""
_log = logging.getLogger(__name__)


class LiveLeaderboard(Display[TuningProgress], AbstractContextManager["LiveLeaderboard"]):
    """Shows the best candidates on a terminal, with the seconds so far; removed when tuning ends.

    Args:
        console: The terminal; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._state: TuningProgress | None = None
        self._started = time.monotonic()
        self._live = Live(
            console=console or Console(stderr=True), get_renderable=self.table, transient=True, refresh_per_second=2
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, state: TuningProgress) -> None:
        """Updates the table."""
        self._state = state
        self._live.refresh()

    def table(self) -> RenderableType:
        """Returns the best candidates, and below them a line with the rows, the budget and the seconds so far."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        state = self._state
        seconds = f"{time.monotonic() - self._started:.0f} s"
        line = Text(f"{STARTING if state is None else state.below_table}, {seconds}", style="bright_black")
        if state is None or not state.leaders:
            return line
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("best so far")
        table.add_column(state.metric, justify="right", no_wrap=True)
        for name, score in state.leaders:
            table.add_row(Text(name, no_wrap=True, overflow="ellipsis"), f"{score:.3f}")
        return Group(table, line)


class NotebookLeaderboard(Display[TuningProgress]):
    """Shows the best candidates in the output of a notebook cell; the last state remains."""

    def __init__(self) -> None:
        from IPython.display import display

        self._handle: Any = display({"text/plain": STARTING}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def __call__(self, state: TuningProgress) -> None:
        """Updates the table."""
        self._handle.update({"text/html": self.html(state), "text/plain": state.line}, raw=True)

    @staticmethod
    def html(state: TuningProgress) -> str:
        """Returns the best candidates as a table, and below it a line with the rows and the budget."""
        line = f"<p>{escape(state.below_table)}</p>"
        if not state.leaders:
            return line
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{score:.3f}</td></tr>" for name, score in state.leaders)
        return f"<table><tr><th>best so far</th><th>{escape(state.metric)}</th></tr>{rows}</table>{line}"


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
