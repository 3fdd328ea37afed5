"""The best candidates while tuning runs: a live table on a terminal or in a notebook, and otherwise a line for each block."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from html import escape
from typing import Any, Self

from promptkit.display.progress import in_notebook
from promptkit.tuning.tuning import Progress, TuningProgress

_log = logging.getLogger(__name__)


class LiveLeaderboard(AbstractContextManager["LiveLeaderboard"]):
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

    def __call__(self, progress: TuningProgress) -> None:
        """Updates the table."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None)
        table.add_column("best so far")
        table.add_column("score", justify="right")
        for name, score in progress.leaders:
            table.add_row(Text(name), f"{score:.3f}")
        self._live.update(Group(table, Text(progress.line, style="bright_black")))


class NotebookLeaderboard:
    """Shows the best candidates in the output of a notebook cell; removed when tuning ends."""

    def __init__(self) -> None:
        from IPython.display import display

        self._handle: Any = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def __call__(self, progress: TuningProgress) -> None:
        """Updates the table."""
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{score:.3f}</td></tr>" for name, score in progress.leaders)
        html = f"<table><tr><th>best so far</th><th>score</th></tr>{rows}</table>{escape(progress.line)}"
        self._handle.update({"text/html": html, "text/plain": progress.line}, raw=True)


def log_line(progress: TuningProgress) -> None:
    """Logs the state as one line."""
    _log.warning("%s", progress.line)


def shown_by_default() -> Progress:
    """Returns what shows the progress of tuning in Python."""
    return NotebookLeaderboard() if in_notebook() else log_line
