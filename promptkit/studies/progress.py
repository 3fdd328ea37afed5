"""How far a study is, and how that is shown: a table that fills on a terminal, a bar in a log, another in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from promptkit.display.table import Plain
from promptkit.studies.grid import listed
from promptkit.studies.study import Study

if TYPE_CHECKING:
    from rich.table import Table as RichTable

PAUSE = 0.2
"""Seconds between two pictures of the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How far a study is."""

    done: int
    """How many of its runs are over."""
    of: int
    """How many runs it has: cells of equal settings are one."""
    values: Mapping[str, Plain]
    """The cell that is evaluated now; nothing at the end."""
    rows: tuple[int, int] = (0, 0)
    """How many of this run's rows are done, of how many."""
    so_far: Study | None = None
    """The cells that are evaluated; None before the first."""

    @property
    def line(self) -> str:
        """In one line."""
        rows = f", row {self.rows[0]} of {self.rows[1]}" if self.rows[1] else ""
        return f"run {self.done + 1} of {self.of}: {listed(self.values)}{rows}" if self.done < self.of else f"{self.of} runs"


Progress = Callable[[Moment], None]


class LiveTable(AbstractContextManager["LiveTable"]):
    """The study's table as it fills, on a terminal; gone when the study is over."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)
        self._drawn: tuple[Study, RichTable] | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, moment: Moment) -> None:
        """Show it; the table is computed anew when a run is over."""
        from rich.console import Group
        from rich.text import Text

        study = moment.so_far
        if study is not None and (self._drawn is None or self._drawn[0] is not study):
            self._drawn = study, study.table().rich()
        table = [] if self._drawn is None else [self._drawn[1]]
        self._live.update(Group(*table, Text(moment.line, style="bright_black")))


class RunsBar(AbstractContextManager["RunsBar"]):
    """tqdm on standard error; in a log, a line now and then."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, moment: Moment) -> None:
        """Show it."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=moment.of, unit="run", file=sys.stderr, mininterval=10)
        self._bar.update(moment.done - self._bar.n)


class NotebookBar:
    """A bar in a notebook's output that leaves nothing behind."""

    def __init__(self) -> None:
        from IPython.display import display

        self._last = 0.0
        self._handle: Any = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def __call__(self, moment: Moment) -> None:
        """Show it, unless it was shown a moment ago."""
        over = moment.done == moment.of
        if over or time.monotonic() - self._last > PAUSE:
            self._last = time.monotonic()
            within = moment.rows[0] / moment.rows[1] if moment.rows[1] else 0.0
            text = "" if over else f"{moment.line}"
            bar = "" if over else f'<progress value="{moment.done + within:.3f}" max="{moment.of}"></progress> {text}'
            self._handle.update({"text/html": bar, "text/plain": text}, raw=True)


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
