"""The progress of a study: a live table on a terminal, a progress bar in a log or a notebook."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from promptkit.display.progress import Bar, Display, in_notebook
from promptkit.display.table import Plain
from promptkit.studies.grid import format_values
from promptkit.studies.study import Study

if TYPE_CHECKING:
    from rich.console import Group

UPDATE_INTERVAL = 0.2
"""The least number of seconds between two updates of a notebook's bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProgress:
    """The state of a study while it runs."""

    done: int
    """The number of runs that have finished or failed."""
    total: int
    """The number of runs; cells with equal settings share one."""
    values: Mapping[str, Plain]
    """The values of the cell that is being evaluated; empty at the end."""
    rows: tuple[int, int] = (0, 0)
    """The number of evaluated rows of this run, and of all its rows; (0, 0) before the first."""
    study: Study | None = None
    """The cells that are evaluated so far; None before the first."""

    @property
    def line(self) -> str:
        """The state as one line of text."""
        if self.done == self.total:
            return f"{self.total} runs"
        rows = f", row {self.rows[0]} of {self.rows[1]}" if self.rows[1] else ""
        return f"run {self.done + 1} of {self.total}: {format_values(self.values)}{rows}"


class LiveTable(Display[StudyProgress], AbstractContextManager["LiveTable"]):
    """Shows the table of the study on a terminal while it fills; removed when the study ends."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)
        self._rendered: tuple[Study, Group] | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, state: StudyProgress) -> None:
        """Updates the display; the table is computed only after a run."""
        from rich.console import Group
        from rich.text import Text

        study = state.study
        if study is not None and (self._rendered is None or self._rendered[0] is not study):
            self._rendered = study, study.table().rich()
        table = [] if self._rendered is None else [self._rendered[1]]
        self._live.update(Group(*table, Text(state.line, style="bright_black")))


class RunsBar(Display[StudyProgress], AbstractContextManager["RunsBar"]):
    """Shows the number of finished runs, as a bar in a terminal and otherwise as a line every 30 seconds."""

    def __init__(self) -> None:
        self._bar = Bar(unit="run")

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def __call__(self, state: StudyProgress) -> None:
        """Shows the state of a study."""
        self._bar(state.done, state.total, state.line if state.done < state.total else "")


class NotebookBar(Display[StudyProgress]):
    """Shows a progress bar in the output of a notebook cell; removed when the study ends."""

    def __init__(self) -> None:
        from IPython.display import display

        self._last_update = 0.0
        self._handle: Any = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def __call__(self, state: StudyProgress) -> None:
        """Updates the bar, unless the last update is less than `UPDATE_INTERVAL` seconds ago."""
        finished = state.done == state.total
        if not finished and time.monotonic() - self._last_update <= UPDATE_INTERVAL:
            return
        self._last_update = time.monotonic()
        rows, all_rows = state.rows
        value = state.done + (rows / all_rows if all_rows else 0.0)
        text = "" if finished else state.line
        bar = "" if finished else f'<progress value="{value:.3f}" max="{state.total}"></progress> {text}'
        self._handle.update({"text/html": bar, "text/plain": text}, raw=True)


def shown_by_default() -> Display[StudyProgress]:
    """Returns what shows the progress of a study in Python."""
    return NotebookBar() if in_notebook() else RunsBar()
